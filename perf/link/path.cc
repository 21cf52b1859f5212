#include "path.h"

#include <algorithm>
#include <cstring>

namespace sluice::perf {

namespace {

constexpr size_t slot_bytes = 1536;
constexpr size_t ethernet_bytes = 14;
constexpr unsigned ecn_mask = 0x03;  // both bits: congestion experienced

unsigned at(std::span<const std::byte> frame, size_t offset) {
  return std::to_integer<unsigned>(frame[offset]);
}

unsigned ether_type(std::span<const std::byte> frame) {
  return frame.size() < ethernet_bytes + 20 ? 0 : at(frame, 12) << 8 | at(frame, 13);
}

bool is_ip(std::span<const std::byte> frame) {
  const unsigned type = ether_type(frame);
  return type == 0x0800 || type == 0x86dd;
}

}  // namespace

bool mark_congestion(std::span<std::byte> frame) {
  if (!is_ip(frame)) return false;
  const std::span<std::byte> packet = frame.subspan(ethernet_bytes);
  if (ether_type(frame) ==
      0x86dd) {  // the traffic class straddles two bytes: its low bits are 5 and 4 of byte 1
    if ((at(packet, 1) >> 4 & ecn_mask) == 0) return false;
    packet[1] |= std::byte{ecn_mask << 4};
    return true;
  }
  const unsigned before = at(packet, 0) << 8 | at(packet, 1);
  if ((before & ecn_mask) == 0) return false;
  packet[1] |= std::byte{ecn_mask};
  const unsigned after = before | ecn_mask;
  // RFC 1624: HC' = ~(~HC + ~m + m').
  unsigned sum = (~(at(packet, 10) << 8 | at(packet, 11)) & 0xffff) + (~before & 0xffff) + after;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
  packet[10] = static_cast<std::byte>(sum >> 8);
  packet[11] = static_cast<std::byte>(sum & 0xff);
  return true;
}

Path::Path(const PathOptions& options, size_t frames_max)
    : options_(options), prng_(options.seed), memory_(frames_max * slot_bytes) {
  free_slots_.reserve(frames_max);
  for (size_t slot = frames_max; slot > 0; --slot) {
    free_slots_.push_back(static_cast<uint32_t>(slot - 1));
  }
}

bool Path::happens(double probability) {
  constexpr uint64_t scale = 1ULL << 53;
  return probability > 0 &&
         static_cast<double>(prng_.below(scale)) < probability * static_cast<double>(scale);
}

// Only IP is lost: an ARP request that nobody answers costs a second and says nothing of TCP.
// Runs of losses are Gilbert's: two states, everything is lost in the bad one. Mean stay there:
// burst_frames; the way into it is such that the share of lost frames is `loss`.
bool Path::is_lost(std::span<const std::byte> frame) {
  if (options_.loss <= 0 || !is_ip(frame)) return false;
  if (options_.burst_frames <= 1) return happens(options_.loss);
  if (in_burst_) {
    in_burst_ = !happens(1 / options_.burst_frames);
  } else {
    in_burst_ = happens(options_.loss / (options_.burst_frames * (1 - options_.loss)));
  }
  return in_burst_;
}

void Path::offer(Instant now, std::span<const std::byte> frame) {
  ++counters_.offered;
  counters_.offered_bytes += frame.size();
  bool mark = false;
  Instant sent = now;
  if (options_.rate_bits_per_s != 0) {
    const auto rate = static_cast<double>(options_.rate_bits_per_s);
    const Instant free = std::max(now, transmitter_free_);
    const auto backlog =
        static_cast<uint64_t>(static_cast<double>((free - now).ns()) * rate / 8e9) + frame.size();
    if (backlog > options_.queue_bytes) {
      ++counters_.dropped_queue;
      return;
    }
    counters_.queue_bytes_peak = std::max(counters_.queue_bytes_peak, backlog);
    mark = options_.ecn_bytes != 0 && backlog > options_.ecn_bytes;
    sent = free +
           Duration::from_ns(static_cast<int64_t>(static_cast<double>(frame.size()) * 8e9 / rate));
    transmitter_free_ = sent;
  }
  if (is_lost(frame)) {
    ++counters_.dropped_loss;
    return;
  }
  if (free_slots_.empty() || frame.size() > slot_bytes) {
    ++counters_.dropped_pool;
    return;
  }
  Instant due = sent + options_.delay;
  if (happens(options_.reorder)) {
    due = std::max(sent, due + options_.reorder_by);
    ++counters_.reordered;
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  const std::span<std::byte> kept(memory_.data() + size_t{slot} * slot_bytes, frame.size());
  std::memcpy(kept.data(), frame.data(), frame.size());
  if (mark && mark_congestion(kept)) ++counters_.marked;
  waiting_.push({due, arrivals_++, slot, static_cast<uint32_t>(frame.size())});
}

std::optional<std::span<const std::byte>> Path::take(Instant now) {
  if (waiting_.empty() || waiting_.top().due > now) return std::nullopt;
  const Waiting next = waiting_.top();
  waiting_.pop();
  free_slots_.push_back(next.slot);
  ++counters_.delivered;
  counters_.delivered_bytes += next.length;
  const Duration late = now - next.due;
  counters_.late_peak = std::max(counters_.late_peak, late);
  if (late > 1_ms) ++counters_.late_1ms;
  return std::span<const std::byte>(memory_.data() + size_t{next.slot} * slot_bytes, next.length);
}

Instant Path::next_due() const {
  return waiting_.empty() ? Instant::never() : waiting_.top().due;
}

}  // namespace sluice::perf
