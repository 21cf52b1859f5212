#include "link.h"

#include <algorithm>

namespace sluice::sim {
namespace {

// What a queue's limit in frames stands for.
constexpr uint32_t full_frame_bytes = 1514;
// A burst does not outlast a silence: it is a state of the medium, not of the sender.
constexpr int64_t burst_ns_max = 50'000'000;

}  // namespace

std::string LinkOptions::describe() const {
  std::string text = "delay " + std::to_string(delay_ns / 1000) + " us";
  const auto add = [&text](const char* name, uint64_t value) {
    if (value != 0) text += std::string(", ") + name + " " + std::to_string(value);
  };
  add("rate B/s", bytes_per_second);
  if (bytes_per_second != 0) add("queue", queue_frames);
  add("mark", mark_frames);
  add("carries", carries_bytes);
  add("loss/10000", loss_per_10000);
  add("bursts/10000", burst_begin_per_10000);
  add("reorder/10000", reorder_per_10000);
  add("duplicate/10000", duplicate_per_10000);
  add("corrupt/10000", corrupt_per_10000);
  for (const Partition& p : partitions) {
    text += ", cut " + std::to_string(p.from_ns / 1'000'000) + "-" +
            std::to_string(p.until_ns / 1'000'000) + " ms";
  }
  return text;
}

bool Link::is_partitioned(int64_t now_ns) const {
  return std::any_of(
      options_.partitions.begin(), options_.partitions.end(),
      [now_ns](const auto& p) { return now_ns >= p.from_ns && now_ns < p.until_ns; });
}

bool Link::is_lost(int64_t now_ns) {
  if (prng_.chance(options_.loss_per_10000, 10'000)) {
    ++counts_.dropped_loss;
    return true;
  }
  if (options_.burst_begin_per_10000 == 0) return false;
  if (now_ns - last_offered_ns_ > burst_ns_max) bad_ = false;
  last_offered_ns_ = now_ns;
  const uint32_t change = bad_ ? options_.burst_end_per_10000 : options_.burst_begin_per_10000;
  if (prng_.chance(change, 10'000)) bad_ = !bad_;
  if (!bad_ || !prng_.chance(options_.burst_loss_per_10000, 10'000)) return false;
  ++counts_.dropped_burst;
  return true;
}

void Link::send(int64_t now_ns, Frame frame) {
  ++counts_.offered;
  if (is_partitioned(now_ns)) {
    ++counts_.dropped_partition;
    return;
  }
  if (options_.carries_bytes > 0 && frame.size() > options_.carries_bytes + 14) {
    ++counts_.dropped_too_long;
    return;
  }
  if (!options_.loss_behind_line && is_lost(now_ns)) return;
  int64_t at = now_ns + options_.delay_ns;
  if (options_.bytes_per_second > 0) {
    const auto serial = std::max<int64_t>(
        1, static_cast<int64_t>(frame.size() * 1'000'000'000 / options_.bytes_per_second));
    line_free_at_ns_ = std::max(line_free_at_ns_, now_ns);
    const uint64_t backlog_bytes = static_cast<uint64_t>(line_free_at_ns_ - now_ns) *
                                   options_.bytes_per_second / 1'000'000'000;
    if (backlog_bytes + frame.size() > uint64_t{options_.queue_frames} * full_frame_bytes) {
      ++counts_.dropped_queue;
      return;
    }
    if (options_.mark_frames > 0 &&
        backlog_bytes > uint64_t{options_.mark_frames} * full_frame_bytes &&
        mark_congestion(frame)) {
      ++counts_.marked;
    }
    line_free_at_ns_ += serial;
    at = line_free_at_ns_ + options_.delay_ns;
  }
  if (options_.loss_behind_line && is_lost(now_ns)) return;
  if (prng_.chance(options_.reorder_per_10000, 10'000)) {
    ++counts_.reordered;
    at += options_.reorder_ns > 0 ? options_.reorder_ns : 4 * options_.delay_ns;
  }
  if (prng_.chance(options_.corrupt_per_10000, 10'000)) {
    ++counts_.corrupted;
    frame[prng_.below(frame.size())] ^= static_cast<uint8_t>(1u << prng_.below(8));
  }
  if (prng_.chance(options_.duplicate_per_10000, 10'000)) {
    ++counts_.duplicated;
    flying_.emplace(at + options_.delay_ns, frame);
  }
  flying_.emplace(at, std::move(frame));
}

bool Link::poll(int64_t now_ns, Frame& out) {
  if (next_ns() > now_ns) return false;
  out = std::move(flying_.begin()->second);
  flying_.erase(flying_.begin());
  ++counts_.delivered;
  return true;
}

bool mark_congestion(Frame& frame) {
  if (frame.size() < 34) return false;
  uint8_t* ip = frame.data() + 14;
  if (frame[12] == 0x08 && frame[13] == 0x00) {
    if ((ip[1] & 3) == 0) return false;
    const auto was = static_cast<uint32_t>(ip[0] << 8 | ip[1]);
    ip[1] |= 3;
    const auto is = static_cast<uint32_t>(ip[0] << 8 | ip[1]);
    // RFC 1624: the header checksum changes with the word.
    uint32_t sum = static_cast<uint32_t>(ip[10] << 8 | ip[11]);
    sum = (~sum & 0xffff) + (~was & 0xffff) + is;
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    sum = ~sum & 0xffff;
    ip[10] = static_cast<uint8_t>(sum >> 8);
    ip[11] = static_cast<uint8_t>(sum);
    return true;
  }
  if (frame[12] == 0x86 && frame[13] == 0xdd) {
    if ((ip[1] & 0x30) == 0) return false;
    ip[1] |= 0x30;
    return true;
  }
  return false;
}

}  // namespace sluice::sim
