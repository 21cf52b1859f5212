// PathPool: the text of many paths in fixed memory, in blocks of 60 bytes chained by index. A path
// is needed again only when its file is opened again, so nothing here is fast or contiguous.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "store/io.h"
#include "store/links.h"

namespace sluice::store {

class PathPool {
 public:
  struct Path {
    uint32_t first = none;
    uint16_t length_bytes = 0;
  };

  explicit PathPool(uint32_t blocks) : blocks_(blocks), pool_(blocks) {}

  [[nodiscard]] static uint32_t blocks_for(size_t length_bytes) {
    return static_cast<uint32_t>((length_bytes + block_bytes - 1) / block_bytes);
  }
  [[nodiscard]] bool has_room(size_t length_bytes) const {
    return blocks_for(length_bytes) <= pool_.available();
  }
  /// Requires: has_room(text.size()); text.size() <= path_bytes_max.
  [[nodiscard]] Path add(std::string_view text) {
    ASSERT(text.size() <= path_bytes_max);
    Path path{none, static_cast<uint16_t>(text.size())};
    uint32_t* link = &path.first;
    while (!text.empty()) {
      const uint32_t block = pool_.take();
      ASSERT(block != none);
      const size_t length = std::min<size_t>(text.size(), block_bytes);
      std::copy_n(text.begin(), length, blocks_[block].text.begin());
      blocks_[block].next = none;
      *link = block;
      link = &blocks_[block].next;
      text.remove_prefix(length);
    }
    return path;
  }
  void remove(Path& path) {
    for (uint32_t block = path.first; block != none;) {
      const uint32_t next = blocks_[block].next;
      pool_.give_back(block);
      block = next;
    }
    path = {};
  }
  /// Puts the text together in `out`. Requires: out holds path_bytes_max bytes.
  [[nodiscard]] std::string_view text(const Path& path, std::span<char> out) const {
    size_t at = 0;
    for (uint32_t block = path.first; block != none; block = blocks_[block].next) {
      const size_t length = std::min<size_t>(path.length_bytes - at, block_bytes);
      std::copy_n(blocks_[block].text.begin(), length, out.begin() + static_cast<ptrdiff_t>(at));
      at += length;
    }
    return {out.data(), at};
  }
  [[nodiscard]] uint32_t blocks_in_use() const { return pool_.in_use(); }

 private:
  static constexpr uint32_t block_bytes = 60;
  struct Block {
    std::array<char, block_bytes> text;
    uint32_t next = none;
  };
  FixedArray<Block> blocks_;
  IndexPool pool_;
};

}  // namespace sluice::store
