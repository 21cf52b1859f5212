// FluidPath: a congestion control that always has something to send, over one bottleneck: a rate, a
// delay, a queue that drops or marks at its end, and one segment at a time. Virtual time; the
// sender is paced when the algorithm asks for it. Losses are found when what was sent behind them
// arrives.
//
//   sender -- queue (limit) -- rate --> delay/2 --> receiver --> delay/2 --> sender
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

#include "tcp/congestion_control.h"
#include "tcp/rate_sample.h"

namespace sluice::tcp {

class FluidPath {
 public:
  static constexpr uint16_t mss = 1448;

  struct Shape {
    double bytes_per_s = 12.5e6;
    Duration rtt = Duration::from_ms(20);
    uint32_t queue_bytes = 1u << 30;
    uint32_t mark_bytes = 1u << 30;  // a queue longer than this marks
    uint32_t drop_every = 0;         // every n-th segment is lost on its way; 0: none
    uint32_t drop_per_10000 = 0;     // at random, from `seed`
    uint64_t seed = 1;
    uint32_t window_bytes = 1u << 30;  // that the receiver offers, from its first missing byte on
  };

  FluidPath(CongestionAlgorithm algorithm, const Shape& shape)
      : shape_(shape),
        cc(CongestionMemory::fresh(algorithm, mss),
           {.mss = mss, .srtt = shape.rtt, .now = now, .bbr = &bbr_}) {}
  FluidPath(const FluidPath&) = delete;  // the congestion control knows where its state is
  FluidPath& operator=(const FluidPath&) = delete;

  void change(const Shape& shape) { shape_ = shape; }

  /// Runs for some time. Returns: bytes delivered in it.
  uint64_t run(Duration time) {
    const Instant end = now + time;
    const uint64_t before = delivered_;
    queue_peak = 0;
    min_flight = UINT32_MAX;
    while (now < end) step(end);
    return delivered_ - before;
  }
  [[nodiscard]] double share(uint64_t bytes, Duration time) const {
    return static_cast<double>(bytes) /
           (shape_.bytes_per_s * static_cast<double>(time.ns()) * 1e-9);
  }

  Instant now = Instant::from_ns(5'000'000'000);
  uint64_t queue_peak = 0;  // bytes, in the latest run()
  uint32_t min_flight = 0;
  uint64_t lost_segments = 0;

 private:
  Shape shape_;  // before cc: its constructor reads it
  BbrState bbr_;

 public:
  CongestionControl cc;

 private:
  struct Packet {
    StreamOffset end;
    SentStamp stamp;
    Instant sent;
    Instant acked;  // never(): lost
    bool marked = false;
  };

  static uint32_t us(Instant t) { return static_cast<uint32_t>(t.ns() / 1'000); }

  void send() {
    ++count_;
    const double queued =
        std::max(0.0, static_cast<double>((free_at_ - now).ns()) * 1e-9 * shape_.bytes_per_s);
    queue_peak = std::max(queue_peak, static_cast<uint64_t>(queued));
    nxt_ += mss;
    Packet packet{.end = nxt_,
                  .stamp = rate_.on_sent(us(now), in_flight_, mss),
                  .sent = now,
                  .acked = Instant::never(),
                  .marked = queued > shape_.mark_bytes};
    in_flight_ += mss;
    const bool dropped = queued + mss > shape_.queue_bytes ||
                         (shape_.drop_every > 0 && count_ % shape_.drop_every == 0) ||
                         random() % 10'000 < shape_.drop_per_10000;
    if (!dropped) {
      free_at_ = std::max(free_at_, now) +
                 Duration::from_ns(static_cast<int64_t>(mss / shape_.bytes_per_s * 1e9));
      packet.acked = free_at_ + shape_.rtt;
    }
    packets_.push_back(packet);
    const uint64_t pace = cc.pacing_rate();
    if (pace > 0) {
      paced_until_ = std::max(paced_until_, now) +
                     Duration::from_ns(static_cast<int64_t>(mss * 1e9 / static_cast<double>(pace)));
    }
  }

  // splitmix64
  uint64_t random() {
    uint64_t x = shape_.seed += 0x9e37'79b9'7f4a'7c15;
    x = (x ^ (x >> 30)) * 0xbf58'476d'1ce4'e5b9;
    x = (x ^ (x >> 27)) * 0x94d0'49bb'1331'11eb;
    return x ^ (x >> 31);
  }

  // The first byte that the receiver misses: a round trip after a loss is found it is there.
  StreamOffset una() {
    while (!holes_.empty() && holes_.front().filled <= now) holes_.pop_front();
    if (!holes_.empty()) return holes_.front().begin;
    return packets_.empty() ? nxt_ : packets_.front().end - mss;
  }

  void step(Instant end) {
    const bool open = nxt_ - una() + mss <= shape_.window_bytes;
    if (!open && in_flight_ + mss <= cc.cwnd()) rate_.on_window_limited(in_flight_);
    const bool room = open && in_flight_ + mss <= cc.cwnd();
    const Instant may_send = room ? std::max(now, paced_until_) : Instant::never();
    const auto next = std::find_if(packets_.begin(), packets_.end(),
                                   [](const Packet& p) { return !p.acked.is_never(); });
    const Instant ack_at = next == packets_.end() ? Instant::never() : next->acked;
    const Instant repaired = open || holes_.empty() ? Instant::never() : holes_.front().filled;
    const Instant at = std::min({may_send, ack_at, repaired, end});
    now = std::max(now, at);
    if (at == end || at == repaired) return;
    if (may_send <= ack_at) return send();
    receive(*next, static_cast<size_t>(next - packets_.begin()));
  }

  // All before it in line are lost.
  void receive(const Packet packet, size_t lost) {
    const uint32_t before = in_flight_;
    RateSample sample;
    for (size_t i = 0; i < lost; ++i) {
      holes_.push_back({packets_.front().end - mss, now + shape_.rtt});
      packets_.pop_front();
    }
    packets_.pop_front();
    const auto lost_bytes = static_cast<uint32_t>(lost * mss);
    lost_segments += lost;
    in_flight_ -= lost_bytes + mss;
    min_flight = std::min(min_flight, in_flight_);
    if (lost > 0) rate_.on_lost(lost_bytes);
    if (mode_ == RecoveryMode::fast && packet.end > recovery_point_) {
      mode_ = RecoveryMode::open;
      cc.on_recovery_end(now);
    }
    const bool was_recovering = mode_ == RecoveryMode::fast;
    if (lost > 0 && mode_ == RecoveryMode::open) {
      cc.on_loss_event(now, before);
      mode_ = RecoveryMode::fast;
      recovery_point_ = nxt_;
    }
    rate_.on_delivered(us(now), mss);
    const auto rtt_us = static_cast<uint32_t>((now - packet.sent).us());
    min_rtt_us_ = std::min(min_rtt_us_, rtt_us);
    rate_.sample(us(now), &packet.stamp, min_rtt_us_, sample);
    sample.newly_acked_bytes = mss;
    sample.newly_lost_bytes = lost_bytes;
    sample.rtt = Duration::from_us(rtt_us);
    sample.prior_in_flight_bytes = before;
    sample.in_flight_bytes = in_flight_;
    sample.cwnd_limited = before + 2 * mss > cc.cwnd();
    sample.in_recovery = was_recovering;
    delivered_ += mss;
    cc.on_ack(now, sample,
              {.snd_una = packet.end,
               .snd_nxt = nxt_,
               .srtt = sample.rtt,
               .min_rtt = Duration::from_us(min_rtt_us_),
               .mode = mode_,
               .ece = packet.marked});
  }

  struct Hole {
    StreamOffset begin;
    Instant filled;
  };
  std::deque<Packet> packets_;
  std::deque<Hole> holes_;
  DeliveryRate rate_;
  StreamOffset nxt_{(uint64_t{1} << 32) - 100'000};
  StreamOffset recovery_point_;
  RecoveryMode mode_ = RecoveryMode::open;
  Instant free_at_;  // the bottleneck has sent all that is queued
  Instant paced_until_;
  uint64_t delivered_ = 0;
  uint64_t count_ = 0;
  uint32_t in_flight_ = 0;
  uint32_t min_rtt_us_ = UINT32_MAX;
};

}  // namespace sluice::tcp
