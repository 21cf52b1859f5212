#include "check_rdma.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <thread>

#include "control/quantity.h"
#include "mover/descriptor.h"
#include "mover/endpoint.h"

namespace sluice::app {
namespace {

using Level = Finding::Level;
using RdmaDevice = rdma::DeviceFacts;

// RoCE v2 puts IP, UDP, BTH, RETH, immediate and ICRC around each packet: with IPv6, 40 + 8 + 12 +
// 16
// + 4 + 4 (InfiniBand specification, annex A17); with a path MTU of 4096, 4180 in all.
constexpr uint32_t mtu_for_4096 = 4'200;
constexpr uint32_t path_mtu_max = 4'096;

// What a counter says of the network or of a peer, by the names that drivers give
// (rxe_hw_counters.c; mlx5: "Understanding mlx5 ethtool and RDMA counters"). Only those that ought
// to stand still.
struct Meaning {
  const char* name;
  const char* says;
  const char* cure;
};
constexpr const char* cure_loss =
    "the network loses or reorders frames: PFC or ECN on every switch, cables, the MTU at both "
    "ends";
constexpr const char* cure_receiver =
    "a peer could not keep up, or stood still: see its CPU and sluicectl transfers";
constexpr std::array meanings{
    Meaning{"out_of_sequence", "packets came out of order: some were lost", cure_loss},
    Meaning{"out_of_seq_request", "packets came out of order: some were lost", cure_loss},
    Meaning{"packet_seq_err", "the peer told of lost packets", cure_loss},
    Meaning{"rcvd_seq_err", "the peer told of lost packets", cure_loss},
    Meaning{"implied_nak_seq_err", "acknowledgements were lost", cure_loss},
    Meaning{"local_ack_timeout_err", "no acknowledgement in time: sent again", cure_loss},
    Meaning{"completer_retry_err", "sent again", cure_loss},
    Meaning{"retry_exceeded_err", "links ended: no answer to any retry", cure_loss},
    Meaning{"roce_adp_retrans", "sent again after a loss", cure_loss},
    Meaning{"duplicate_request", "requests came twice: acknowledgements were lost or late",
            cure_loss},
    Meaning{"rx_icrc_encapsulated", "packets with a wrong checksum",
            "cables, transceivers, switches"},
    Meaning{"out_of_buffer", "writes found no receive posted", cure_receiver},
    Meaning{"rnr_nak_retry_err", "a peer had no receive posted", cure_receiver},
    Meaning{"send_rnr_err", "writes found no receive posted", cure_receiver},
    Meaning{"rcvd_rnr_err", "a peer had no receive posted", cure_receiver},
    Meaning{"retry_rnr_exceeded_err", "links ended: the peer never had a receive", cure_receiver},
    Meaning{"req_remote_access_errors", "a peer refused a key of ours",
            "a revoked grant, or a peer of another epoch: see the log at both ends"},
    Meaning{"resp_local_length_error", "a peer's request was longer than what it was for",
            "another version of sluice there?"},
    Meaning{"np_ecn_marked_roce_packets", "packets were marked: congestion",
            "nothing, where DCQCN is meant to be at work; else see the switches' thresholds"},
    Meaning{"link_downed", "the link went down", "see the cable and the other end"},
};

std::string host_of(const std::string& host_port) {
  const Result<mover::HostPort> parts = mover::parse_host_port(host_port);
  return parts ? parts->host : std::string();
}

void judge_port(const RdmaDevice& device, std::vector<Finding>& out) {
  if (device.state == "ACTIVE") {
    out.push_back({Level::ok,
                   fmt::format("RDMA device {}: active, {}{}{}", device.name, device.link_layer,
                               device.rate.empty() ? "" : ", " + device.rate,
                               device.interface.empty() ? "" : ", on " + device.interface),
                   ""});
  } else {
    out.push_back({Level::warning,
                   fmt::format("RDMA device {}: its port is {}", device.name, device.state),
                   device.interface.empty()
                       ? "see the cable and the other end (InfiniBand: is there a subnet manager?)"
                       : fmt::format("ip link set {} up; see the cable and the other end",
                                     device.interface)});
  }
  if (device.is_software) {
    out.push_back({Level::warning,
                   fmt::format("RDMA device {}: software ({}): every byte goes through the CPU, "
                               "slower than TCP",
                               device.name, device.driver),
                   "--rdma off, unless it is for a test"});
  }
}

void judge_gids(const RdmaDevice& device, const std::string& host, std::vector<Finding>& out) {
  if (device.link_layer != "Ethernet") return;
  const bool anywhere = host.empty() || host == "::" || host == "0.0.0.0";
  const rdma::GidFacts* v1 = nullptr;
  for (const rdma::GidFacts& gid : device.gids) {
    const bool wanted = anywhere ? !gid.address.starts_with("fe80") : gid.address == host;
    if (!wanted) continue;
    if (gid.type == "RoCE v2") {
      out.push_back({Level::ok,
                     fmt::format("RDMA device {}: GID {} is {}, RoCE v2, on {}", device.name,
                                 gid.index, gid.address, gid.interface),
                     ""});
      return;
    }
    v1 = &gid;
  }
  if (v1 != nullptr) {
    out.push_back(
        {Level::warning,
         fmt::format("RDMA device {}: {} has only a GID of type {}, which no router "
                     "forwards",
                     device.name, v1->address, v1->type),
         fmt::format("cma_roce_mode -d {} -m 2, and the NIC's RoCE version", device.name)});
    return;
  }
  if (anywhere) {
    out.push_back({Level::warning,
                   fmt::format("RDMA device {}: its GID table has no IP address", device.name),
                   fmt::format("give {} an address", device.interface)});
  }
}

void judge_mtu(const RdmaDevice& device, std::vector<Finding>& out) {
  if (device.active_mtu == 0) return;
  const bool is_ethernet = device.link_layer == "Ethernet";
  if (device.active_mtu >= path_mtu_max || !is_ethernet) {
    out.push_back({Level::ok,
                   fmt::format("RDMA device {}: path MTU {}, interface MTU {}", device.name,
                               device.active_mtu, device.interface_mtu),
                   ""});
    return;
  }
  out.push_back({Level::warning,
                 fmt::format("RDMA device {}: path MTU {}, for the interface's MTU is {}",
                             device.name, device.active_mtu, device.interface_mtu),
                 fmt::format("ip link set {} mtu {} or more (9000), at both ends and on every "
                             "switch between",
                             device.interface, mtu_for_4096)});
}

void judge_memory(const RdmaQuestion& question, const RdmaDevice& device,
                  std::vector<Finding>& out) {
  if (!device.was_asked) return;
  const std::string arena = control::format_size(question.arena_bytes);
  if (device.mr_bytes_max != 0 && device.mr_bytes_max < question.arena_bytes) {
    out.push_back({Level::ok,
                   fmt::format("RDMA device {}: registers {} at a time: the arena of {} in parts",
                               device.name, control::format_size(device.mr_bytes_max), arena),
                   ""});
  }
  if (device.has_windows && !device.windows_are_unbounded) {
    out.push_back({Level::ok,
                   fmt::format("RDMA device {}: a memory window for each grant", device.name), ""});
  } else {
    out.push_back({Level::warning,
                   fmt::format("RDMA device {}: {}: a memory region for each grant, which costs "
                               "time, and a key that any peer could guess",
                               device.name,
                               device.has_windows ? "its memory windows do not keep to their bounds"
                                                  : "no memory windows of type 2B"),
                   "peers that are not trusted: --rdma off; newer firmware may have windows"});
  }
  if (device.numa_node >= 0 && question.arena_node >= 0 &&
      device.numa_node != question.arena_node) {
    out.push_back({Level::warning,
                   fmt::format("RDMA device {}: on NUMA node {}, the arena is on node {}",
                               device.name, device.numa_node, question.arena_node),
                   "a NIC on the arena's node, or --cores of the NIC's node"});
  }
}

void judge_lock(const RdmaQuestion& question, std::vector<Finding>& out) {
  if (question.may_lock_any || question.locked_memory_max_bytes >= question.arena_bytes) {
    out.push_back(
        {Level::ok,
         fmt::format("locked memory: {} for RDMA to register, {}",
                     control::format_size(question.arena_bytes),
                     question.may_lock_any ? "no limit (CAP_IPC_LOCK)" : "within the limit"),
         ""});
    return;
  }
  out.push_back({question.required ? Level::blocker : Level::warning,
                 fmt::format("locked memory: RDMA registers {}, the limit is {}",
                             control::format_size(question.arena_bytes),
                             control::format_size(question.locked_memory_max_bytes)),
                 "ulimit -l unlimited, LimitMEMLOCK=infinity in the unit, or --ulimit memlock=-1 "
                 "of a container"});
}

bool holds(const RdmaDevice& device, const std::string& host) {
  return std::any_of(device.gids.begin(), device.gids.end(),
                     [&](const rdma::GidFacts& gid) { return gid.address == host; });
}

}  // namespace

std::vector<Finding> judge_rdma(const RdmaQuestion& question, const rdma::Facts& facts) {
  const Level missing = question.required ? Level::blocker : Level::warning;
  if (!facts.why_not.empty()) {
    return {{missing, "RDMA not available: " + facts.why_not,
             question.required ? "what it says, or --rdma automatic: replication goes over TCP then"
                               : "nothing, if replication may go over TCP"}};
  }
  if (facts.devices.empty()) {
    return {{missing, "RDMA not available: there is no RDMA device",
             "rdma link lists them; without one replication goes over TCP"}};
  }
  std::vector<Finding> out;
  const std::string host = host_of(question.listen);
  const bool anywhere = host.empty() || host == "::" || host == "0.0.0.0";
  const auto is_used = [&](const RdmaDevice& device) {
    if (!question.device.empty()) return device.name == question.device;
    return anywhere || holds(device, host);
  };
  const auto used = std::count_if(facts.devices.begin(), facts.devices.end(), is_used);
  if (used == 0) {
    std::string names;
    for (const RdmaDevice& each : facts.devices) names += (names.empty() ? "" : ", ") + each.name;
    out.push_back({missing,
                   question.device.empty()
                       ? fmt::format("{} is the address of no RDMA device ({})", host, names)
                       : fmt::format("there is no RDMA device {} ({})", question.device, names),
                   "listen on an address of an RDMA device's interface: rdma link says which"});
    return out;
  }
  judge_lock(question, out);
  for (const RdmaDevice& device : facts.devices) {
    if (!is_used(device)) continue;
    judge_port(device, out);
    judge_gids(device, host, out);
    judge_mtu(device, out);
    judge_memory(question, device, out);
  }
  return out;
}

std::vector<Finding> judge_paths(const std::vector<PathAnswer>& answers) {
  std::vector<Finding> out;
  for (const PathAnswer& each : answers) {
    switch (each.outcome) {
      case PathAnswer::Outcome::whole:
        out.push_back({Level::ok,
                       fmt::format("peer {}: packets of {} bytes arrive there, and come back",
                                   each.peer, each.bytes),
                       ""});
        break;
      case PathAnswer::Outcome::small_only:
        out.push_back(
            {Level::warning,
             fmt::format("peer {}: small packets arrive, those of {} bytes do not", each.peer,
                         each.bytes),
             "the same MTU at both ends and on every switch between: ip link, ping -M do"});
        break;
      case PathAnswer::Outcome::silent:
        out.push_back({Level::warning, fmt::format("peer {}: no answer to ping", each.peer),
                       "is it up, and its address right? (or it does not answer ping)"});
        break;
      case PathAnswer::Outcome::not_tried:
        out.push_back({Level::ok, fmt::format("peer {}: not pinged", each.peer), ""});
        break;
    }
  }
  return out;
}

std::vector<Finding> judge_counters(const std::string& device,
                                    const std::map<std::string, uint64_t>& before,
                                    const std::map<std::string, uint64_t>& after) {
  std::vector<Finding> out;
  for (const Meaning& meaning : meanings) {
    const auto found = after.find(meaning.name);
    if (found == after.end() || found->second == 0) continue;
    const auto then = before.find(meaning.name);
    const uint64_t grown = then == before.end() ? 0 : found->second - then->second;
    out.push_back(
        {grown > 0 ? Level::warning : Level::ok,
         fmt::format("RDMA device {}: {} {}{}: {}", device, meaning.name, found->second,
                     grown > 0 ? fmt::format(", {} of them just now", grown) : ", none just now",
                     meaning.says),
         grown > 0 ? meaning.cure : ""});
  }
  if (out.empty() && !after.empty()) {
    out.push_back(
        {Level::ok,
         fmt::format("RDMA device {}: none of its counters tells of loss or of errors", device),
         ""});
  }
  return out;
}

bool may_lock_any() {
  // CAP_IPC_LOCK is 14 (linux/capability.h).
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("CapEff:")) continue;
    return (std::strtoull(line.c_str() + 7, nullptr, 16) >> 14 & 1) != 0;
  }
  return false;
}

PathAnswer probe_path(const std::string& peer, uint32_t mtu) {
  PathAnswer out{.peer = peer, .bytes = mtu};
  const Result<mover::SocketAddress> to = mover::passive_address(peer);
  if (!to || mtu < 576) return out;
  const bool v4 = to->storage.ss_family == AF_INET;
  // The kernel fills in identifier and checksum, and hands only our own answers up (icmp(7)).
  const mover::Descriptor socket(::socket(to->storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC,
                                          v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6}));
  if (!socket.is_open()) return out;
  static_assert(IP_PMTUDISC_PROBE == IPV6_PMTUDISC_PROBE);
  const int never = IP_PMTUDISC_PROBE;
  setsockopt(socket.get(), v4 ? int{IPPROTO_IP} : int{IPPROTO_IPV6},
             v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &never, sizeof never);
  mover::SocketAddress without_port = *to;
  std::memset(reinterpret_cast<std::byte*>(&without_port.storage) + 2, 0, 2);
  const uint32_t header = v4 ? 20 : 40;
  uint16_t sequence = 0;
  const auto echo = [&](uint32_t bytes) {
    std::vector<std::byte> packet(bytes - header);
    packet[0] = static_cast<std::byte>(v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST);
    store_be16(&packet[6], ++sequence);
    if (sendto(socket.get(), packet.data(), packet.size(), 0, without_port.get(),
               without_port.length) < 0) {
      return false;
    }
    pollfd wait{.fd = socket.get(), .events = POLLIN, .revents = 0};
    std::vector<std::byte> answer(bytes);
    while (poll(&wait, 1, 1'000) > 0) {
      const ssize_t got = recv(socket.get(), answer.data(), answer.size(), MSG_DONTWAIT);
      if (got >= 8 && load_be16(&answer[6]) == sequence) return true;
      if (got < 0) return false;
    }
    return false;
  };
  if (echo(mtu)) {
    out.outcome = PathAnswer::Outcome::whole;
  } else {
    out.outcome = echo(128) ? PathAnswer::Outcome::small_only : PathAnswer::Outcome::silent;
  }
  return out;
}

std::vector<Finding> check_rdma(const RdmaQuestion& question) {
  const rdma::Facts facts = rdma::read_facts();
  std::vector<Finding> out = judge_rdma(question, facts);
  if (!facts.why_not.empty() || facts.devices.empty()) return out;
  std::vector<PathAnswer> answers;
  for (const std::string& peer : question.peers) {
    answers.push_back(probe_path(peer, facts.devices.front().interface_mtu));
  }
  for (Finding& each : judge_paths(answers)) out.push_back(std::move(each));
  if (answers.empty()) std::this_thread::sleep_for(std::chrono::seconds(1));
  const std::vector<RdmaDevice> later = rdma::read_devices();
  for (const RdmaDevice& device : facts.devices) {
    for (const RdmaDevice& now : later) {
      if (now.name != device.name) continue;
      for (Finding& each : judge_counters(device.name, device.counters, now.counters)) {
        out.push_back(std::move(each));
      }
    }
  }
  return out;
}

}  // namespace sluice::app
