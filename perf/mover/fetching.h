// Fetching: the probe's own small protocol over one link, both parts of it. Who fetches grants an
// extent, says Want, is written to, revokes, checks. As the Node does, without any of its
// judgement.
//
// Source chunks hold bytes that both sides can make, so that each piece's checksum is known.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "content/arena_view.h"
#include "mover/mover.h"
#include "probe_options.h"

namespace sluice::perf {

/// Chunks that are read from, and then those that are written to: one for each of the window.
inline constexpr uint32_t source_chunks = 7;

struct Start {
  bool dialler_fetches = false;
  bool listener_fetches = false;
  bool verify = true;
  Fault fault = Fault::none;
  uint32_t pieces = 0;
  uint32_t write_bytes = 0;
  uint32_t window = 0;
};

/// Fills the source chunks. Called once.
void fill_sources(const content::ArenaView& arena);

class Fetching {
 public:
  Fetching(mover::Mover& mover, const content::ArenaView& arena, const replica::LinkUp& up);

  void begin(const Start& start);  // the dialler
  void handle(const replica::FrameArrived& event);
  void handle(const replica::Granted& event);
  void handle(const replica::Landed& event);
  void handle(const replica::Revoked& event);
  void handle(const replica::WriteDone& event);

  [[nodiscard]] bool has_begun() const { return begun_; }
  /// Nothing is left to fetch or to give, here and there.
  [[nodiscard]] bool is_done() const { return begun_ && fetched_all() && peer_finished_; }
  [[nodiscard]] uint64_t bytes_fetched() const { return uint64_t{verified_} * start_.write_bytes; }
  [[nodiscard]] uint64_t bytes_given() const { return uint64_t{given_} * start_.write_bytes; }
  [[nodiscard]] uint32_t wrong() const { return wrong_; }
  [[nodiscard]] Instant began() const { return began_; }

 private:
  enum class Kind : uint8_t { start = 1, want, finished };
  struct Message {
    Kind kind = Kind::start;
    Start start;
    uint32_t piece = 0;
    replica::Window window;
  };

  [[nodiscard]] bool fetches() const {
    return dialled_ ? start_.dialler_fetches : start_.listener_fetches;
  }
  [[nodiscard]] bool fetched_all() const { return !fetches() || verified_ == start_.pieces; }
  void run(const Start& start);
  void ask(uint32_t grant);
  void send(const Message& message);
  void give(const Message& want);
  void finish_if_done();
  [[nodiscard]] content::Extent landing(uint32_t grant) const;
  [[nodiscard]] content::Extent source(uint32_t piece) const;

  mover::Mover& mover_;
  content::ArenaView arena_;
  replica::LinkId link_;
  bool dialled_;
  bool begun_ = false;
  bool told_finished_ = false;
  bool peer_finished_ = false;
  Instant began_;
  Start start_;
  uint32_t asked_ = 0;
  uint32_t verified_ = 0;
  uint32_t given_ = 0;
  uint32_t wants_ = 0;
  uint32_t wrong_ = 0;
  std::vector<uint32_t> source_crcs_;
  std::array<uint32_t, replica::grants_max> piece_of_{};
  std::array<bool, replica::grants_max> landed_{};
  std::vector<uint32_t> writes_free_;
  std::vector<Message> wants_waiting_;  // every write is under way
};

}  // namespace sluice::perf
