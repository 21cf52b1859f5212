// Reader: one client of a node's content, as a worker with one connection is: asks Lookup and
// NeedPiece through a Catalog of its own, leases and pins, and compares every byte when its turn in
// the NIC's ring comes.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "content/arena_view.h"
#include "content/catalog.h"
#include "content/chunk_pins.h"
#include "content/message.h"

namespace sluice::sim {

/// How one reading of a path went.
struct Reading {
  std::string path;
  content::LookupStatus status = content::LookupStatus::not_found;
  content::ObjectInfo info;  // found
  bool complete = false;     // found, and every byte was there
  int64_t asked_ns = 0;
  int64_t answered_ns = 0;
  int64_t ended_ns = 0;
};

struct ReaderOptions {
  uint64_t seed = 1;
  content::ArenaView arena;
  std::vector<std::string> paths;
  int64_t pause_ns_max = 200'000'000;  // between readings
  int64_t ring_ns_max = 20'000;
  Duration fresh_for = 100_ms;
};

class Reader {
 public:
  Reader(const ReaderOptions& options, stats::Counters& counters);

  [[nodiscard]] content::ChunkPins& pins() { return pins_; }
  void handle(int64_t now_ns, const content::ToWorker& message);
  [[nodiscard]] bool poll_message(content::ToStore& out) {
    return catalog_.poll_message(out) || pop(out);
  }
  void turn(int64_t now_ns);
  [[nodiscard]] int64_t next_ns() const;
  /// No new readings from now on.
  void set_idle(bool idle) { idle_ = idle; }
  /// This one next, whole.
  void read_now(const std::string& path) { wanted_ = path; }
  [[nodiscard]] bool is_reading() const { return state_ != State::pausing; }
  [[nodiscard]] const std::string& path() const { return reading_.path; }
  [[nodiscard]] int64_t asked_ns() const { return reading_.asked_ns; }
  [[nodiscard]] bool holds_nothing() const { return ring_.empty() && pins_.total() == 0; }

  /// What the object's bytes must be; null: any answer of this kind is wrong. Called when a lookup
  /// is answered.
  std::function<const std::string*(const Reading&)> on_answer;
  std::function<void(const Reading&)> on_end;
  std::function<void(const std::string&)> on_wrong;
  /// Whether this byte of the arena is known to be bad: a test made it so.
  std::function<bool(uint32_t chunk, uint32_t offset_bytes)> is_rotten;

 private:
  enum class State : uint8_t { pausing, asking, reading, waiting, draining };
  struct InRing {
    int64_t due_ns = 0;
    content::Extent extent;
    uint64_t offset_bytes = 0;
  };

  [[nodiscard]] bool pop(content::ToStore& out);
  void ask(int64_t now_ns);
  void begin(int64_t now_ns, content::ObjectHandle object);
  void go_on(int64_t now_ns);
  void end(int64_t now_ns, bool complete);
  void compare(const InRing& train);

  ReaderOptions options_;
  Prng prng_;
  content::ChunkPins pins_;
  content::Catalog catalog_;
  State state_ = State::pausing;
  bool idle_ = false;
  std::string wanted_;
  int64_t pause_until_ns_ = 0;
  bool to_ask_ = false;
  uint32_t ticket_ = 0;
  Reading reading_;
  content::ObjectHandle object_ = content::ObjectHandle::none();
  content::Lease lease_;
  uint64_t offset_bytes_ = 0, end_bytes_ = 0;
  const std::string* expected_ = nullptr;
  bool failed_ = false;
  std::deque<InRing> ring_;
};

}  // namespace sluice::sim
