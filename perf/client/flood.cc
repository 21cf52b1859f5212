#include "flood.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/prng.h"
#include "monotonic.h"

namespace sluice::perf {

namespace {

constexpr size_t ip_at = 14;
constexpr size_t tcp_at = ip_at + 20;
constexpr size_t frame_bytes = tcp_at + 40;
constexpr size_t burst_max = 64;
using Frame = std::array<uint8_t, frame_bytes>;

void put16(Frame& frame, size_t at, uint16_t value) {
  frame[at] = static_cast<uint8_t>(value >> 8);
  frame[at + 1] = static_cast<uint8_t>(value);
}

void put32(Frame& frame, size_t at, uint32_t value) {
  put16(frame, at, static_cast<uint16_t>(value >> 16));
  put16(frame, at + 2, static_cast<uint16_t>(value));
}

// RFC 1071.
uint16_t checksum(const Frame& frame, size_t from, size_t to, uint32_t sum) {
  for (size_t at = from; at < to; at += 2) sum += uint32_t{frame[at]} << 8 | frame[at + 1];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

Frame make_template(const FloodOptions& options, const std::array<uint8_t, 6>& own_mac) {
  Frame frame{};
  std::ranges::copy(options.server_mac, frame.begin());
  std::ranges::copy(own_mac, frame.begin() + 6);
  put16(frame, 12, 0x0800);
  frame[ip_at] = 0x45;
  put16(frame, ip_at + 2, frame_bytes - ip_at);
  put16(frame, ip_at + 6, 0x4000);  // do not fragment
  frame[ip_at + 8] = 64;
  frame[ip_at + 9] = 6;
  put32(frame, ip_at + 16, ntohl(options.server.sin_addr.s_addr));
  put16(frame, tcp_at + 2, ntohs(options.server.sin_port));
  frame[tcp_at + 12] = 10 << 4;  // ten words of header
  frame[tcp_at + 13] = 0x02;     // SYN
  put16(frame, tcp_at + 14, 64'240);
  // MSS 1460, SACK permitted, timestamps, no-operation, window scale 7: as Linux sends them.
  constexpr std::array<uint8_t, 20> tcp_options = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0,
                                                   0, 1, 0, 0,   0, 0, 1, 3,  3, 7};
  std::ranges::copy(tcp_options, frame.begin() + tcp_at + 20);
  return frame;
}

void randomise(Frame& frame, Prng& prng) {
  const uint64_t chance = prng.next();
  put32(frame, ip_at + 12, 198U << 24 | 18U << 16 | static_cast<uint32_t>(chance & 0x1ffff));
  put16(frame, tcp_at, static_cast<uint16_t>(1024 + (chance >> 17 & 0xffff) % 64'000));
  put32(frame, tcp_at + 4, static_cast<uint32_t>(chance >> 32));
  put32(frame, tcp_at + 28, static_cast<uint32_t>(chance >> 20));  // its timestamp
  put16(frame, ip_at + 10, 0);
  put16(frame, ip_at + 10, checksum(frame, ip_at, tcp_at, 0));
  put16(frame, tcp_at + 16, 0);
  constexpr uint32_t pseudo_header =
      6 + (frame_bytes - tcp_at);  // and the addresses, which stand before
  put16(frame, tcp_at + 16, checksum(frame, ip_at + 12, frame_bytes, pseudo_header));
}

class PacketSocket {
 public:
  PacketSocket() : descriptor_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {}
  PacketSocket(const PacketSocket&) = delete;
  PacketSocket& operator=(const PacketSocket&) = delete;
  ~PacketSocket() {
    if (descriptor_ >= 0) close(descriptor_);
  }

  /// Returns: the interface's own address.
  Result<std::array<uint8_t, 6>> bind_to(const std::string& interface) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    socklen_t length = sizeof(address);
    const int on = 1;
    setsockopt(descriptor_, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
    if (address.sll_ifindex == 0 ||
        bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      return fail(interface + ": " + std::strerror(errno));
    }
    std::array<uint8_t, 6> own{};
    std::copy_n(address.sll_addr, own.size(), own.begin());
    return own;
  }

  /// Returns: how many of the frames were taken.
  size_t send_all(std::array<Frame, burst_max>& frames, size_t count) const {
    std::array<iovec, burst_max> pieces{};
    std::array<mmsghdr, burst_max> messages{};
    for (size_t i = 0; i < count; ++i) {
      pieces[i] = {.iov_base = frames[i].data(), .iov_len = frames[i].size()};
      messages[i].msg_hdr.msg_iov = &pieces[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int sent = sendmmsg(descriptor_, messages.data(), static_cast<unsigned>(count), 0);
    return sent < 0 ? 0 : static_cast<size_t>(sent);
  }

 private:
  int descriptor_;
};

}  // namespace

Result<FloodResult> run_flood(const FloodOptions& options) {
  PacketSocket socket;
  const auto own_mac = socket.bind_to(options.interface);
  if (!own_mac) return fail(own_mac.error());
  Prng prng(options.seed);
  std::array<Frame, burst_max> frames;
  frames.fill(make_template(options, *own_mac));
  FloodResult result;
  const Instant started = monotonic_now();
  for (;;) {
    result.taken = monotonic_now() - started;
    const uint64_t tried = result.sent + result.not_sent;
    if (result.taken >= options.time_max || tried >= options.count_max) return result;
    const auto due = static_cast<uint64_t>(static_cast<double>(options.rate_per_s) *
                                           static_cast<double>(result.taken.ns()) / 1e9);
    const uint64_t behind = std::min(due, options.count_max) - std::min(due, tried);
    if (behind == 0) {
      const timespec pause{.tv_sec = 0, .tv_nsec = 100'000};
      nanosleep(&pause, nullptr);
      continue;
    }
    const auto count = static_cast<size_t>(std::min<uint64_t>(behind, burst_max));
    for (size_t i = 0; i < count; ++i) randomise(frames[i], prng);
    const size_t sent = socket.send_all(frames, count);
    result.sent += sent;
    result.not_sent += count - sent;
  }
}

}  // namespace sluice::perf
