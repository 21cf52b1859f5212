// A whole Store in simulated time: a FakeDisk on one side, workers on the other, each taking random
// but lawful turns; everything that must hold is checked at every step.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fake_disk.h"
#include "store/store.h"

namespace sluice::store {

/// One worker that follows content/message.h, and checks that the Store does.
class FakeWorker {
 public:
  FakeWorker(uint64_t seed, content::ChunkPins& pins, const content::ArenaView& arena)
      : random_(seed), pins_(pins), arena_(arena) {}

  struct Piece {
    content::Extent extent;
    std::vector<Stamp> stamps;
    uint32_t leases = 0;
  };
  using PieceKey = std::pair<content::ObjectId, content::PieceNumber>;

  void handle(Instant now, const content::ToWorker& message, const FakeDisk& disk);
  /// One random thing. Returns a message to send, if there is one.
  bool act(Instant now, const std::vector<std::string>& paths, content::ToStore& out);
  /// Lets go of everything; afterwards only answers.
  void retire_from_work();
  bool poll_retired(Instant now, content::ToStore& out, bool at_once);

  [[nodiscard]] size_t open_questions() const { return lookups_.size() + needs_.size(); }
  /// Whether bytes of the extent may be used by this worker now.
  [[nodiscard]] bool may_use(const content::Extent& extent) const;

  uint32_t lookups_max = 8;
  uint32_t needs_max = 8;
  uint64_t ready = 0, stale = 0, io_errors = 0, declined = 0, revalidates = 0, found = 0, busy = 0;
  uint64_t bytes_checked = 0;

 private:
  struct Known {
    content::ObjectInfo info;
    std::map<content::PieceNumber, std::vector<Stamp>> seen;  // every piece ever read
  };
  void check_bytes(const content::ObjectInfo& info, content::PieceNumber number,
                   const content::Extent& extent, const FakeDisk& disk);
  std::vector<Stamp> stamps(const content::Extent& extent) const;
  void unlease(const PieceKey& key, Piece& piece);

  Prng random_;
  content::ChunkPins& pins_;
  content::ArenaView arena_;
  uint32_t tickets_ = 0;
  bool retired_from_work_ = false;
  std::map<uint32_t, std::unique_ptr<std::string>> lookups_;
  std::map<content::ObjectId, Known> known_;
  std::vector<content::ObjectId> ids_;
  std::map<PieceKey, bool> needs_;  // to whether it is a prefetch
  std::map<PieceKey, Piece> pieces_;
  std::set<content::ChunkIndex> retiring_;
  std::multimap<content::ChunkIndex, Piece> in_retiring_;
  std::map<content::ChunkIndex, uint32_t> pinned_;
};

inline std::vector<Stamp> FakeWorker::stamps(const content::Extent& extent) const {
  std::vector<Stamp> all;
  for (uint32_t at = 0; at < extent.length_bytes; at += io_align_bytes) {
    Stamp stamp;
    std::memcpy(&stamp, arena_.bytes({extent.chunk, extent.offset_bytes + at, sizeof stamp}).data(),
                sizeof stamp);
    all.push_back(stamp);
  }
  return all;
}

// All that was ever read of one version must be a view of one single state of its file.
inline void FakeWorker::check_bytes(const content::ObjectInfo& info, content::PieceNumber number,
                                    const content::Extent& extent, const FakeDisk& disk) {
  const uint64_t start = uint64_t{number} * arena_.chunk_bytes;
  ASSERT_LT(start, info.size_bytes);
  ASSERT_EQ(extent.length_bytes, std::min<uint64_t>(arena_.chunk_bytes, info.size_bytes - start));
  Known& known = known_.at(info.id);
  const std::vector<Stamp> here = stamps(extent);
  const auto before = known.seen.find(number);
  if (before != known.seen.end()) {
    ASSERT_TRUE(before->second == here) << "a piece of one version read twice differs";
  }
  known.seen[number] = here;
  const auto inode = disk.inode(here[0].inode);
  ASSERT_TRUE(inode);
  bool consistent = false;
  for (const Inode::State& state : inode->history) {
    bool matches = state.size_bytes == info.size_bytes;
    for (const auto& [piece, seen] : known.seen) {
      for (size_t i = 0; matches && i < seen.size(); ++i) {
        const auto block =
            static_cast<uint32_t>(uint64_t{piece} * arena_.chunk_bytes / io_align_bytes + i);
        matches = seen[i] == Stamp{inode->number, block, state.writes[block]};
      }
    }
    consistent |= matches;
  }
  ASSERT_TRUE(consistent) << "a mixture of versions of inode " << inode->number;
  bytes_checked += extent.length_bytes;
}

inline bool FakeWorker::may_use(const content::Extent& extent) const {
  const auto overlaps = [&](const content::Extent& other) {
    return other.chunk == extent.chunk &&
           other.offset_bytes < extent.offset_bytes + extent.length_bytes &&
           extent.offset_bytes < other.offset_bytes + other.length_bytes;
  };
  for (const auto& [key, piece] : pieces_) {
    if (overlaps(piece.extent)) return true;
  }
  for (const auto& [chunk, piece] : in_retiring_) {
    if (overlaps(piece.extent)) return true;
  }
  return false;
}

inline void FakeWorker::unlease(const PieceKey&, Piece& piece) {
  for (; piece.leases > 0; --piece.leases) pins_.unlease(piece.extent.chunk);
}

inline void FakeWorker::handle(Instant now, const content::ToWorker& message,
                               const FakeDisk& disk) {
  if (const auto* answer = std::get_if<content::LookupAnswer>(&message)) {
    ASSERT_EQ(lookups_.erase(answer->ticket), 1u) << "an answer that was not asked for";
    busy += answer->status == content::LookupStatus::busy;
    if (answer->status != content::LookupStatus::found) return;
    ++found;
    ASSERT_FALSE(answer->info.id.is_none());
    const auto [at, is_new] = known_.try_emplace(answer->info.id);
    if (is_new) {
      at->second.info = answer->info;
      ids_.push_back(answer->info.id);
    } else {
      ASSERT_EQ(at->second.info.size_bytes, answer->info.size_bytes);
      ASSERT_EQ(at->second.info.etag, answer->info.etag);
    }
  } else if (const auto* piece_ready = std::get_if<content::PieceReady>(&message)) {
    const PieceKey key{piece_ready->object, piece_ready->piece};
    ASSERT_EQ(needs_.erase(key), 1u) << "a piece that was not asked for";
    ASSERT_EQ(retiring_.count(piece_ready->extent.chunk), 0u) << "told of a chunk being retired";
    ++ready;
    check_bytes(known_.at(key.first).info, key.second, piece_ready->extent, disk);
    pieces_[key] = {piece_ready->extent, stamps(piece_ready->extent), 0};
  } else if (const auto* failed = std::get_if<content::PieceFailed>(&message)) {
    const auto at = needs_.find({failed->object, failed->piece});
    ASSERT_TRUE(at != needs_.end());
    stale += failed->reason == content::PieceFailure::stale;
    io_errors += failed->reason == content::PieceFailure::io_error;
    declined += failed->reason == content::PieceFailure::declined;
    needs_.erase(at);
  } else if (const auto* retire = std::get_if<content::Retire>(&message)) {
    ASSERT_TRUE(retiring_.insert(retire->chunk).second) << "retired twice";
    for (auto at = pieces_.begin(); at != pieces_.end();) {
      if (at->second.extent.chunk != retire->chunk) {
        ++at;
        continue;
      }
      unlease(at->first, at->second);
      in_retiring_.emplace(retire->chunk, at->second);
      at = pieces_.erase(at);
    }
  } else {
    ++revalidates;
  }
  static_cast<void>(now);
}

inline bool FakeWorker::act(Instant now, const std::vector<std::string>& paths,
                            content::ToStore& out) {
  const auto tick = static_cast<uint32_t>(now.ns() / 1'000'000);
  switch (retired_from_work_ ? 99 : random_.below(9)) {
    case 0:
    case 1: {
      if (lookups_.size() >= lookups_max) return false;
      auto path = std::make_unique<std::string>(paths[random_.below(paths.size())]);
      out = content::Lookup{++tickets_, *path};
      lookups_[tickets_] = std::move(path);
      return true;
    }
    case 2:
    case 3:
    case 4: {
      if (needs_.size() >= needs_max || ids_.empty()) return false;
      // Mostly of versions met lately.
      const size_t span = std::min<size_t>(ids_.size(), 12);
      const Known& known = known_.at(ids_[ids_.size() - 1 - random_.below(span)]);
      if (known.info.size_bytes == 0) return false;
      const uint64_t pieces = (known.info.size_bytes + arena_.chunk_bytes - 1) / arena_.chunk_bytes;
      const PieceKey key{known.info.id, static_cast<content::PieceNumber>(random_.below(pieces))};
      if (needs_.count(key) > 0) return false;
      // A worker may have forgotten what it was told, but it asks for what it has only then.
      const auto have = pieces_.find(key);
      if (have != pieces_.end()) {
        if (have->second.leases > 0) return false;
        pieces_.erase(have);
      }
      const bool prefetch = random_.chance(1, 3);
      needs_[key] = prefetch;
      out = content::NeedPiece{key.first, key.second, prefetch};
      return true;
    }
    case 5:
    case 6: {  // use a piece
      if (pieces_.empty()) return false;
      auto at = pieces_.begin();
      std::advance(at, static_cast<ptrdiff_t>(random_.below(pieces_.size())));
      Piece& piece = at->second;
      EXPECT_TRUE(stamps(piece.extent) == piece.stamps) << "content changed while ready";
      pins_.touch(piece.extent.chunk, tick);
      if (piece.leases > 0 && random_.chance(2, 3)) {
        --piece.leases;
        pins_.unlease(piece.extent.chunk);
      } else {
        ++piece.leases;
        pins_.lease(piece.extent.chunk);
      }
      if (pinned_[piece.extent.chunk] < 3) {
        ++pinned_[piece.extent.chunk];
        pins_.pin(piece.extent.chunk);
      }
      return false;
    }
    case 8: {  // what a scrub would do, now and then
      if (pieces_.empty() || !random_.chance(1, 8)) return false;
      auto at = pieces_.begin();
      std::advance(at, static_cast<ptrdiff_t>(random_.below(pieces_.size())));
      out = content::Discard{at->first.first, at->first.second};
      return true;
    }
    default: {  // a frame leaves the ring
      if (pinned_.empty()) return false;
      auto at = pinned_.begin();
      std::advance(at, static_cast<ptrdiff_t>(random_.below(pinned_.size())));
      if (at->second > 0) {
        pins_.unpin(at->first);
        --at->second;
      }
      if (at->second == 0) pinned_.erase(at);
      return false;
    }
  }
}

inline void FakeWorker::retire_from_work() {
  retired_from_work_ = true;
  for (auto& [key, piece] : pieces_) unlease(key, piece);
  for (auto& [chunk, pins] : pinned_) {
    for (; pins > 0; --pins) pins_.unpin(chunk);
  }
  pinned_.clear();
}

inline bool FakeWorker::poll_retired(Instant, content::ToStore& out, bool at_once) {
  for (const content::ChunkIndex chunk : retiring_) {
    if (pins_.pins(chunk) > 0 || (!at_once && random_.chance(1, 2))) continue;
    for (auto [at, end] = in_retiring_.equal_range(chunk); at != end; ++at) {
      EXPECT_TRUE(stamps(at->second.extent) == at->second.stamps)
          << "content changed before Retired";
    }
    in_retiring_.erase(chunk);
    retiring_.erase(chunk);
    out = content::Retired{chunk};
    return true;
  }
  return false;
}

struct SimulationOptions {
  uint64_t seed = 0;
  uint32_t steps = 1'500;
};

/// Draws a world from the seed, runs it, lets it come to rest, and checks the books.
class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  void run();

  stats::Counters counters;
  uint64_t ready = 0, stale = 0, io_errors = 0, declined = 0, revalidates = 0;

 private:
  static constexpr uint32_t chunk_bytes = 4 * io_align_bytes;

  [[nodiscard]] static Config draw(Prng& random);
  void change_world();
  void turn();
  void exchange();
  void come_to_rest();

  SimulationOptions options_;
  Prng random_;
  Config config_;
  std::vector<std::byte> memory_;
  content::ArenaView arena_;
  std::vector<std::unique_ptr<content::ChunkPins>> pins_;
  std::vector<const content::ChunkPins*> uses_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<FakeDisk> disk_;
  std::vector<FakeWorker> workers_;
  std::vector<std::string> paths_;
  Instant now_ = Instant::from_ns(1'000'000'000'000);
  bool resting_ = false;
  bool watched_ = false;
  size_t changing_ = 0;  // the file that changed last
};

}  // namespace sluice::store
