// ContentSource: answers an engine's messages in place of Store and disk, from patterns made on the
// fly.
//
// For tests and benchmarks of the engine alone; the whole of engine, Store and disk is simulated in
// world.h's other users. It keeps the message protocol (content/message.h), recycles chunks through
// Retire and Retired, and can be told to fail, to be slow, or to change a file.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "content/arena_view.h"
#include "content/chunk_pins.h"
#include "content/message.h"

namespace sluice::sim {

/// Byte `offset` of the pattern `seed`.
[[nodiscard]] inline uint8_t pattern_byte(uint64_t seed, uint64_t offset) {
  uint64_t z = seed * 0x9e3779b97f4a7c15ULL + (offset / 8 + 1) * 0xd1342543de82ef95ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z ^= z >> 27;
  return static_cast<uint8_t>(z >> (offset % 8 * 8));
}
[[nodiscard]] std::string pattern(uint64_t seed, uint64_t offset, uint64_t length);

class ContentSource {
 public:
  /// `pins`: leased chunks are taken last, as the Store does.
  ContentSource(const content::ArenaView& arena, const content::ChunkPins& pins)
      : arena_(arena), pins_(pins) {
    for (uint32_t i = 0; i < arena.chunk_count; ++i) free_.push_back(content::ChunkIndex(i));
  }

  void add_file(const std::string& path, uint64_t size, uint64_t seed);
  void add_directory(const std::string& path) {
    files_[path] = {.status = content::LookupStatus::directory};
  }
  void set_status(const std::string& path, content::LookupStatus status) {
    files_[path].status = status;
  }
  /// From now on the file has other bytes; its old version can be read no more.
  void change_file(const std::string& path, uint64_t size, uint64_t seed);
  void fail_reads(const std::string& path, bool fail) { files_[path].fail = fail; }

  void handle(const content::ToStore& message);
  [[nodiscard]] bool poll(content::ToWorker& out);
  [[nodiscard]] uint64_t fills() const { return fills_; }
  [[nodiscard]] uint64_t lookups() const { return lookups_; }
  [[nodiscard]] size_t waiting() const { return waiting_.size(); }

 private:
  struct File {
    content::LookupStatus status = content::LookupStatus::found;
    content::ObjectInfo info;
    uint64_t seed = 0;
    bool fail = false;
  };
  struct Held {
    content::ChunkIndex chunk;
    content::ObjectId object;
    content::PieceNumber piece = 0;
    uint64_t born = 0;  // in turns
  };

  void fill(const content::NeedPiece& need);
  void take_back();
  [[nodiscard]] const File* find(content::ObjectId object) const;

  // A chunk is used at least this long before it is taken back.
  static constexpr uint64_t turns_min = 8;

  content::ArenaView arena_;
  const content::ChunkPins& pins_;
  std::map<std::string, File> files_;
  std::deque<content::ChunkIndex> free_;
  std::deque<Held> held_;  // longest ago first
  std::deque<content::NeedPiece> waiting_;
  std::deque<content::ToWorker> outbox_;
  uint32_t next_slot_ = 1;
  uint64_t fills_ = 0;
  uint64_t lookups_ = 0;
  uint32_t retiring_ = 0;
  uint64_t turns_ = 0;
};

}  // namespace sluice::sim
