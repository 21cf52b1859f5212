#include "replica_setup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/siphash.h"
#include "clock.h"
#include "digest/digest.h"
#include "rdma/rdma.h"
#include "stream/stream.h"

namespace sluice::app {
namespace {

constexpr size_t key_bytes_min = 16;
constexpr size_t key_bytes_max = 4'096;

class File {
 public:
  explicit File(const std::string& path) : number_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (number_ >= 0) close(number_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

SipKey random_key() {
  SipKey key;
  for (size_t have = 0; have < sizeof key;) {
    const ssize_t n = getrandom(reinterpret_cast<char*>(&key) + have, sizeof key - have, 0);
    if (n > 0) have += static_cast<size_t>(n);
  }
  return key;
}

}  // namespace

replica::NodeId node_id_of(std::string_view name) {
  // Names tell nodes apart, not friend from foe: the key is no secret.
  const uint64_t value =
      siphash24(SipKey{0x736c756963652d6eULL, 0x6f64652d76310a00ULL}, as_byte_span(name));
  return {value == 0 ? 1 : value};
}

Result<std::vector<std::byte>> read_cluster_key(const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    return fail(fmt::format("--cluster-key {}: {}", path, why));
  };
  const File file(path);
  struct stat facts {};
  if (file.number() < 0 || fstat(file.number(), &facts) != 0) return refuse(strerror(errno));
  if ((facts.st_mode & S_IROTH) != 0) {
    return refuse("everybody may read it; run chmod 600 on it");
  }
  std::vector<std::byte> key(key_bytes_max + 1);
  const ssize_t length = read(file.number(), key.data(), key.size());
  if (length < 0) return refuse(strerror(errno));
  key.resize(static_cast<size_t>(length));
  // What an editor, or openssl, puts behind it.
  while (!key.empty() && (key.back() == std::byte{'\n'} || key.back() == std::byte{'\r'})) {
    key.pop_back();
  }
  if (key.size() > key_bytes_max) return refuse(fmt::format("longer than {} bytes", key_bytes_max));
  if (key.size() < key_bytes_min) {
    return refuse(
        fmt::format("{} bytes are too short for a secret; make one with openssl rand "
                    "-hex 32",
                    key.size()));
  }
  return key;
}

Result<std::string> resolve(std::string_view host_port) {
  const Result<control::HostPort> parsed = control::parse_host_port(host_port);
  if (!parsed) return fail(parsed.error());
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(parsed->host.c_str(), nullptr, &hints, &found);
  if (error != 0) return fail(fmt::format("{}: {}", parsed->host, gai_strerror(error)));
  std::array<char, NI_MAXHOST> text{};
  const bool is_v6 = found->ai_family == AF_INET6;
  const int failed = getnameinfo(found->ai_addr, found->ai_addrlen, text.data(), text.size(),
                                 nullptr, 0, NI_NUMERICHOST);
  freeaddrinfo(found);
  if (failed != 0) return fail(fmt::format("{}: {}", parsed->host, gai_strerror(failed)));
  return is_v6 ? fmt::format("[{}]:{}", text.data(), parsed->port)
               : fmt::format("{}:{}", text.data(), parsed->port);
}

Result<replica::NodeConfig> node_config(const control::ReplicaOptions& options, const Plan& plan) {
  replica::NodeConfig config;
  config.self = node_id_of(options.node_name);
  // Grows with every start, unless the wall clock went back meanwhile: then peers refuse this node
  // until theirs is over, and say so.
  config.epoch = static_cast<replica::NodeEpoch>(wall_clock_now().unix_ns);
  config.name = options.node_name;
  config.address = options.listen;
  for (const std::string& peer : options.peers) {
    Result<std::string> address = resolve(peer);
    if (!address) return fail(address.error().in("--peer " + peer));
    config.peers.push_back(*std::move(address));
  }
  Result<std::vector<std::byte>> key = read_cluster_key(options.cluster_key_file);
  if (!key) return fail(key.error());
  config.cluster_key = *std::move(key);
  config.nonce_key = random_key();
  config.digests = digest::digests();
  config.chunk_count = plan.chunk_count;
  config.chunk_bytes = plan.store.chunk_bytes;
  config.hold_bytes_max = plan.replica.hold_bytes_max;
  config.fetches_max = plan.store.reads_in_flight;
  config.rate_bytes_per_s = options.rate_bytes_per_s;
  config.share_percent = options.share_percent;
  config.scrub_bytes_per_s = options.scrub_bytes_per_s;
  config.prefer_rdma = options.rdma != control::Rdma::off;
  config.has_registry = !options.etcd.empty();
  return config;
}

content::ArenaView chunks_of(const arena::Arena& arena) {
  content::ArenaView view = arena.view(0);
  view.head_slots = nullptr;
  view.head_slot_count = 0;
  return view;
}

Result<std::unique_ptr<cluster::EtcdRegistry>> open_registry(const control::ReplicaOptions& options,
                                                             const replica::NodeConfig& node) {
  cluster::EtcdOptions asked;
  asked.endpoints = options.etcd;
  asked.self = {.node = node.self,
                .epoch = node.epoch,
                .name = node.name,
                .address = node.address,
                .hold_bytes_max = node.hold_bytes_max};
  asked.digests = node.digests;
  Result<std::unique_ptr<cluster::EtcdRegistry>> made = cluster::EtcdRegistry::create(asked);
  if (!made) return fail(made.error().in("--etcd"));
  return made;
}

Result<Movers> open_movers(const control::ReplicaOptions& options, const arena::Arena& arena,
                           uint32_t links_max, std::vector<std::string>& notes) {
  mover::Options asked;
  asked.arena = chunks_of(arena);
  asked.region = arena.region();
  asked.page_bytes = arena.page_bytes();
  asked.listen = options.listen;
  asked.links_max = links_max;
  Movers movers;
  Result<std::unique_ptr<mover::Mover>> tcp = stream::open(asked);
  if (!tcp) return fail(tcp.error().in("--replica-listen " + options.listen));
  movers[static_cast<size_t>(replica::Transport::tcp)] = *std::move(tcp);
  if (options.rdma == control::Rdma::off) return movers;
  asked.device = options.rdma_device;
  const bool must_be = options.rdma == control::Rdma::required || !options.rdma_device.empty();
  asked.may_be_absent = !must_be;
  Result<std::unique_ptr<mover::Mover>> rdma = rdma::open(asked);
  if (!rdma && must_be) return fail(rdma.error().in("--rdma"));
  if (!rdma) {
    notes.push_back("over TCP alone: " + rdma.error().message);
    return movers;
  }
  if ((*rdma)->counts().devices == 0) notes.push_back("over TCP for now: no RDMA device");
  movers[static_cast<size_t>(replica::Transport::rdma)] = *std::move(rdma);
  return movers;
}

}  // namespace sluice::app
