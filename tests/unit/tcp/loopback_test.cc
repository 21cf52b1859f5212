// A Stack and a naive peer across a link that loses, delays, reorders and duplicates: what arrives
// is exactly what was sent, both ways, and nothing is left behind. Every run is a seed.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <queue>

#include "../../packet/bench.h"
#include "base/prng.h"

namespace sluice::tcp {
namespace {

using packet::Bench;
using packet::received_pattern;
using packet::Sent;
using packet::sent_pattern;
namespace flag = wire::tcp_flag;

struct Link {
  uint32_t loss_per_10000 = 0;  // each way
  uint32_t duplicate_per_10000 = 0;
  Duration delay = 5_ms;
  Duration jitter;                  // up to this much more: reorders
  uint64_t bytes_per_second = 0;    // towards the peer; 0: no limit
  size_t queue_bytes = 256 * 1024;  // towards the peer, with a rate
};

struct PeerOptions {
  bool sack = true;
  bool timestamps = true;
  uint8_t window_scale = 8;
  uint32_t window_bytes = 1 << 20;
  uint16_t mss = 1460;
  uint64_t uploads = 0;  // bytes it sends
};

struct Packet {
  wire::TcpHeader header;
  wire::TcpOptions options;
  std::vector<std::byte> payload;
};

// Acknowledges every second segment, keeps what comes out of order, retransmits on a timer.
class Peer {
 public:
  Peer(const PeerOptions& options, uint32_t isn) : options_(options), isn_(isn) {}

  void connect(Instant now) {
    emit(now, flag::syn, isn_, {});
    retransmit_at_ = now + 1_s;
  }
  void handle(Instant now, const Sent& in);
  void handle_timeout(Instant now);
  [[nodiscard]] Instant next_timeout() const { return std::min(retransmit_at_, ack_at_); }

  std::vector<Packet> out;
  uint64_t received = 0;  // in order
  bool peer_fin = false;
  bool fin_acked = false;
  bool reset = false;
  std::string error;
  uint32_t segments = 0;

 private:
  void emit(Instant now, uint8_t flags, uint32_t sequence, std::vector<std::byte> payload);
  void send_ack(Instant now) {
    ack_at_ = Instant::never();
    owed_ = 0;
    emit(now, flag::ack, isn_ + 1 + static_cast<uint32_t>(sent_) + (fin_sent_ ? 1 : 0), {});
  }
  void send_more(Instant now);
  [[nodiscard]] std::vector<std::byte> bytes(uint64_t from, size_t count) const {
    std::vector<std::byte> result(count);
    for (size_t i = 0; i < count; ++i) result[i] = received_pattern(from + i);
    return result;
  }

  PeerOptions options_;
  uint32_t isn_;
  uint32_t irs_ = 0;
  bool established_ = false;
  uint32_t ts_recent_ = 0;
  uint64_t acked_ = 0;  // of what it uploads
  uint64_t sent_ = 0;
  bool fin_sent_ = false;
  uint32_t stack_window_ = 0;
  uint32_t owed_ = 0;
  Instant retransmit_at_ = Instant::never();
  Instant ack_at_ = Instant::never();
  std::map<uint64_t, uint64_t> waiting_;  // begin -> end, behind a gap
  std::optional<uint64_t> fin_at_;
};

void Peer::emit(Instant now, uint8_t flags, uint32_t sequence, std::vector<std::byte> payload) {
  Packet packet;
  packet.header = {.source_port = 40'000,
                   .destination_port = 80,
                   .sequence = sequence,
                   .acknowledgment = 0,
                   .flags = flags};
  const auto clock = static_cast<uint32_t>(now.ns() / 1'000'000);
  const bool syn = (flags & flag::syn) != 0;
  if (syn) {
    packet.options.has_mss = true;
    packet.options.mss = options_.mss;
    packet.options.sack_permitted = options_.sack;
    packet.options.has_window_scale = true;
    packet.options.window_scale = options_.window_scale;
    packet.header.window = 65'535;
  } else {
    const uint64_t next = received + (peer_fin ? 1 : 0);
    packet.header.acknowledgment = irs_ + 1 + static_cast<uint32_t>(next);
    packet.header.window = static_cast<uint16_t>(options_.window_bytes >> options_.window_scale);
    const size_t limit = options_.timestamps ? 3 : 4;
    // Highest first, which is close enough to the most recent first.
    for (auto it = waiting_.rbegin();
         options_.sack && it != waiting_.rend() && packet.options.sack.size() < limit; ++it) {
      EXPECT_TRUE(packet.options.sack.push_back({irs_ + 1 + static_cast<uint32_t>(it->first),
                                                 irs_ + 1 + static_cast<uint32_t>(it->second)}));
    }
  }
  if (options_.timestamps) {
    packet.options.has_timestamps = true;
    packet.options.timestamp_value = clock;
    packet.options.timestamp_echo = syn ? 0 : ts_recent_;
  }
  packet.payload = std::move(payload);
  out.push_back(std::move(packet));
}

void Peer::send_more(Instant now) {
  const uint64_t window = stack_window_;
  while (sent_ < options_.uploads && sent_ < acked_ + window) {
    const size_t count =
        std::min<uint64_t>({1000, options_.uploads - sent_, acked_ + window - sent_});
    emit(now, flag::ack | flag::psh, isn_ + 1 + static_cast<uint32_t>(sent_), bytes(sent_, count));
    sent_ += count;
    owed_ = 0;
    ack_at_ = Instant::never();
  }
  if (sent_ == options_.uploads && peer_fin && !fin_sent_) {
    emit(now, flag::ack | flag::fin, isn_ + 1 + static_cast<uint32_t>(sent_), {});
    fin_sent_ = true;
  }
  // With a window probe, should nothing be in flight.
  const bool waits = acked_ < options_.uploads || (fin_sent_ && !fin_acked);
  if (retransmit_at_.is_never() && waits) retransmit_at_ = now + 300_ms;
}

void Peer::handle(Instant now, const Sent& in) {
  if ((in.header.flags & flag::rst) != 0) {
    reset = true;
    return;
  }
  if ((in.header.flags & flag::syn) != 0) {
    if (!established_) {
      established_ = true;
      irs_ = in.header.sequence;
      if ((in.header.flags & flag::ack) == 0 || in.header.acknowledgment != isn_ + 1) {
        error = "SYN-ACK acknowledges something else";
      }
      if (in.options.has_timestamps) ts_recent_ = in.options.timestamp_value;
      stack_window_ = in.header.window;
      retransmit_at_ = Instant::never();
    }
    send_ack(now);
    send_more(now);
    return;
  }
  ++segments;
  if (options_.timestamps && !in.options.has_timestamps) error = "no timestamp";
  if (in.payload.size() > size_t{options_.mss} - (options_.timestamps ? 12 : 0)) {
    error = "segment larger than the MSS";
  }
  const auto acknowledged = static_cast<uint32_t>(in.header.acknowledgment - (isn_ + 1));
  if (acknowledged > sent_ + 1) {
    error = "ACK of what was never sent";
  } else if (acknowledged > acked_) {
    fin_acked = acknowledged > sent_;
    acked_ = std::min<uint64_t>(acknowledged, sent_);
    retransmit_at_ = Instant::never();
  }
  stack_window_ = in.header.window;

  // Sequence numbers of the stack count from its ISN; the stream here is far below 4 GiB.
  const uint64_t next = received + (peer_fin ? 1 : 0);
  const auto distance =
      static_cast<int32_t>(in.header.sequence - (irs_ + 1) - static_cast<uint32_t>(next));
  const auto begin = static_cast<uint64_t>(static_cast<int64_t>(next) + distance);
  const uint64_t end = begin + in.payload.size();
  if (end > next && begin > next + options_.window_bytes) error = "beyond the window";
  for (size_t i = 0; i < in.payload.size() && !peer_fin; ++i) {
    if (in.payload[i] != sent_pattern(begin + i)) error = "wrong byte";
  }
  if ((in.header.flags & flag::fin) != 0) {
    if (fin_at_.has_value() && *fin_at_ != end) error = "FIN moved";
    fin_at_ = end;
  }
  bool now_ack = in.payload.empty() ? (in.header.flags & flag::fin) != 0 || distance < 0 : false;
  if (!in.payload.empty()) {
    if (distance != 0 || !waiting_.empty()) now_ack = true;
    if (end > received) {
      uint64_t b = std::max(begin, received);
      uint64_t e = end;
      for (auto it = waiting_.begin(); it != waiting_.end();) {
        if (it->second < b || it->first > e) {
          ++it;
          continue;
        }
        b = std::min(b, it->first);
        e = std::max(e, it->second);
        it = waiting_.erase(it);
      }
      if (b <= received) {
        received = e;
      } else {
        waiting_[b] = e;
      }
    }
    if (++owed_ >= 2) now_ack = true;
    if (ack_at_.is_never()) ack_at_ = now + 40_ms;
  }
  if (in.options.has_timestamps && distance <= 0) ts_recent_ = in.options.timestamp_value;
  if (fin_at_.has_value() && *fin_at_ == received && !peer_fin) {
    peer_fin = true;
    now_ack = true;
  }
  send_more(now);
  if (now_ack) send_ack(now);
}

void Peer::handle_timeout(Instant now) {
  if (ack_at_ <= now) send_ack(now);
  if (retransmit_at_ > now) return;
  retransmit_at_ = now + 300_ms;
  if (!established_) {
    emit(now, flag::syn, isn_, {});
  } else if (acked_ < sent_) {
    const size_t count = std::min<uint64_t>(1000, sent_ - acked_);
    emit(now, flag::ack | flag::psh, isn_ + 1 + static_cast<uint32_t>(acked_),
         bytes(acked_, count));
  } else if (fin_sent_ && !fin_acked) {
    emit(now, flag::ack | flag::fin, isn_ + 1 + static_cast<uint32_t>(sent_), {});
  } else if (sent_ < options_.uploads) {
    emit(now, flag::ack, isn_ + static_cast<uint32_t>(sent_), {});  // window probe
  } else {
    retransmit_at_ = Instant::never();
  }
}

class Loopback {
 public:
  Loopback(uint64_t seed, const Link& link, const PeerOptions& options, const Config& config)
      : bench(config),
        prng_(seed),
        link_(link),
        options_(options),
        peer(options, first_isn(seed)) {}
  // Runs until both sides are closed. Returns false when that takes too long.
  [[nodiscard]] bool run(uint64_t download, Duration limit);

  Bench bench;

 private:
  static uint32_t first_isn(uint64_t seed) {
    return 0xffff'ff00u - static_cast<uint32_t>(seed % 7);  // near the wrap
  }
  struct InFlight {
    Instant at;
    uint64_t order = 0;
    bool to_peer = false;
    Sent to_peer_packet;
    Packet to_stack_packet;
    bool operator>(const InFlight& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };
  void launch(InFlight packet, size_t bytes);
  void pump(uint64_t download);
  void deliver(const Packet& packet);
  void read(const Received& in);

  Prng prng_;
  Link link_;
  PeerOptions options_;
  std::priority_queue<InFlight, std::vector<InFlight>, std::greater<>> flying_;
  uint64_t order_ = 0;
  Instant link_free_at_;
  ConnectionIndex connection_;
  uint64_t queued_ = 0;
  uint64_t consumed_ = 0;

 public:
  Peer peer;
  bool closed = false;
  CloseReason reason = CloseReason::none;
  Duration took;
};

void Loopback::launch(InFlight packet, size_t bytes) {
  Instant departs = bench.now;
  if (packet.to_peer && link_.bytes_per_second > 0) {
    const auto serial =
        Duration::from_ns(static_cast<int64_t>(bytes * 1'000'000'000 / link_.bytes_per_second));
    const Duration backlog = std::max(link_free_at_ - bench.now, Duration());
    if (static_cast<uint64_t>(backlog.ns()) * link_.bytes_per_second / 1'000'000'000 >
        link_.queue_bytes) {
      return;  // drop-tail
    }
    departs = link_free_at_ = std::max(link_free_at_, bench.now) + serial;
  }
  if (prng_.chance(link_.loss_per_10000, 10'000)) return;
  const int copies = prng_.chance(link_.duplicate_per_10000, 10'000) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    InFlight copy = packet;
    copy.at = departs + link_.delay;
    if (link_.jitter > Duration()) {
      copy.at = copy.at + Duration::from_ns(static_cast<int64_t>(
                              prng_.below(static_cast<uint64_t>(link_.jitter.ns()))));
    }
    copy.order = ++order_;
    flying_.push(std::move(copy));
  }
}

void Loopback::read(const Received& in) {
  if (in.connection.is_none()) return;
  const Bytes readable = bench.stack.readable(in.connection);
  for (size_t i = 0; i < readable.size(); ++i) {
    ASSERT_EQ(readable[i], received_pattern(consumed_ + i)) << "at " << consumed_ + i;
  }
  // Sometimes all, sometimes some, sometimes nothing.
  size_t take = readable.size();
  if (prng_.chance(1, 3)) take = prng_.below(readable.size() + 1);
  bench.stack.consume(in.connection, take);
  consumed_ += take;
}

void Loopback::deliver(const Packet& packet) {
  std::vector<std::byte> bytes(wire::tcp_header_length(packet.options) + packet.payload.size());
  const size_t header = wire::emit_tcp(packet.header, packet.options, bytes);
  std::copy(packet.payload.begin(), packet.payload.end(),
            bytes.begin() + static_cast<ptrdiff_t>(header));
  read(bench.stack.handle_segment(bench.now,
                                  {.source = inet::Address::v4(0x0a000002), .segment = bytes}));
}

// Moves everything that can move now.
void Loopback::pump(uint64_t download) {
  bench.drain();
  for (const Event& event : bench.events) {
    if (event.kind == EventKind::accepted) connection_ = event.connection;
    if (event.kind == EventKind::closed) {
      closed = true;
      reason = event.reason;
    }
  }
  bench.events.clear();
  if (bench.stack.is_open(connection_)) {
    // What was left unread is read later.
    if (prng_.chance(1, 2)) read({.connection = connection_});
    while (queued_ < download) {
      const uint64_t length = std::min<uint64_t>(1 + prng_.below(300'000), download - queued_);
      if (!bench.send(connection_, queued_, length)) break;
      queued_ += length;
    }
    if (queued_ == download && consumed_ == options_.uploads) {
      bench.stack.close(bench.now, connection_);
    }
    bench.drain();
  }
  while (!bench.sent.empty()) {
    Sent sent = std::move(bench.sent.front());
    bench.sent.pop_front();
    const size_t bytes = sent.payload.size() + 66;
    launch({.to_peer = true, .to_peer_packet = std::move(sent)}, bytes);
  }
  for (Packet& packet : peer.out) launch({.to_stack_packet = std::move(packet)}, 66);
  peer.out.clear();
}

bool Loopback::run(uint64_t download, Duration limit) {
  const Instant begin = bench.now;
  peer.connect(bench.now);
  while (!(closed && peer.peer_fin) && peer.error.empty() && !peer.reset) {
    pump(download);
    Instant next = std::min(bench.stack.next_timeout(), peer.next_timeout());
    if (!flying_.empty()) next = std::min(next, flying_.top().at);
    const bool unread =
        bench.stack.is_open(connection_) && !bench.stack.readable(connection_).empty();
    if (unread) next = std::min(next, bench.now + 20_ms);  // the session comes back to it
    if (next.is_never() || next - begin > limit) return false;
    bench.now = std::max(bench.now, next);
    if (!flying_.empty() && flying_.top().at <= bench.now) {
      const InFlight packet = flying_.top();
      flying_.pop();
      if (packet.to_peer) {
        peer.handle(bench.now, packet.to_peer_packet);
      } else {
        deliver(packet.to_stack_packet);
      }
    }
    if (peer.next_timeout() <= bench.now) peer.handle_timeout(bench.now);
    bench.stack.handle_timeout(bench.now);
  }
  took = bench.now - begin;
  return peer.error.empty() && !peer.reset;
}

Config small_config() {
  Config config;
  config.max_connections = 8;
  config.max_half_open = 4;
  config.time_wait_max = 4;
  config.send_queues = 8;
  config.receive_buffers = 4;
  config.sent_runs = 1'024;
  EXPECT_TRUE(config.ports.push_back(80));
  config.key = {11, 22};
  return config;
}

void expect_exact(uint64_t seed, const Link& link, const PeerOptions& options,
                  uint64_t download = 2'000'000) {
  SCOPED_TRACE(seed);
  Loopback loop(seed, link, options, small_config());
  EXPECT_TRUE(loop.run(download, 600_s)) << loop.peer.error << " after " << loop.peer.received;
  EXPECT_EQ(loop.peer.received, download);
  EXPECT_EQ(loop.reason, CloseReason::finished);
  EXPECT_EQ(loop.bench.tear_down(), nullptr);
}

TEST(Loopback, DeliversOnACleanLink) {
  expect_exact(1, {}, {});
}

TEST(Loopback, DeliversWithLossBothWays) {
  for (uint64_t seed = 1; seed <= 20; ++seed) expect_exact(seed, {.loss_per_10000 = 300}, {});
}

TEST(Loopback, DeliversWithHeavyLoss) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    expect_exact(seed, {.loss_per_10000 = 2000}, {}, 100'000);
  }
}

TEST(Loopback, DeliversWithoutSackAndTimestamps) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    expect_exact(seed, {.loss_per_10000 = 200}, {.sack = false, .timestamps = false}, 500'000);
  }
}

TEST(Loopback, DeliversWithReorderingAndDuplicates) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    expect_exact(seed, {.loss_per_10000 = 50, .duplicate_per_10000 = 300, .jitter = 3_ms}, {});
  }
}

TEST(Loopback, DeliversBothWaysAtOnce) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    expect_exact(seed, {.loss_per_10000 = 300, .duplicate_per_10000 = 100, .jitter = 1_ms},
                 {.uploads = 100'000}, 300'000);
  }
}

TEST(Loopback, DeliversIntoASmallWindow) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    expect_exact(seed, {.loss_per_10000 = 100}, {.window_scale = 0, .window_bytes = 3000}, 200'000);
  }
}

TEST(Loopback, DeliversTinySegments) {
  expect_exact(1, {.loss_per_10000 = 100}, {.mss = 100}, 100'000);
}

// 12.5 MB/s, 10 ms, a queue of two bandwidth-delay products.
TEST(Loopback, FillsABottleneck) {
  const Link link{.delay = 5_ms, .bytes_per_second = 12'500'000, .queue_bytes = 250'000};
  Loopback loop(3, link, {}, small_config());
  ASSERT_TRUE(loop.run(Bench::object_bytes, 600_s)) << loop.peer.error;
  const double seconds = static_cast<double>(loop.took.ns()) / 1e9;
  const double rate = static_cast<double>(Bench::object_bytes) / seconds;
  RecordProperty("bytes_per_second", std::to_string(rate));
  EXPECT_GT(rate, 10.0e6);
  EXPECT_EQ(loop.bench.counters.get(stats::Counter::tcp_rto), 0u);
}

TEST(Loopback, KeepsGoingAtOnePercentLoss) {
  Loopback loop(4, {.loss_per_10000 = 100, .delay = 500_us}, {}, small_config());
  ASSERT_TRUE(loop.run(Bench::object_bytes, 600_s)) << loop.peer.error;
  const double rate =
      static_cast<double>(Bench::object_bytes) / (static_cast<double>(loop.took.ns()) / 1e9);
  RecordProperty("bytes_per_second", std::to_string(rate));
  EXPECT_GT(rate, 5.0e6);
}

}  // namespace
}  // namespace sluice::tcp
