// A disk in memory for tests of the Store: files with a history, latency, short reads, errors, time
// stamps as coarse as the kernel's, and files that change at any moment.
//
// Each block of 4096 bytes holds a stamp: which write to which file it comes from. A reader can so
// tell which states of the file the bytes in a chunk are a view of.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "content/arena_view.h"
#include "store/io.h"

namespace sluice::store {

struct Stamp {
  uint64_t inode = 0;
  uint32_t block = 0;
  uint32_t write = 0;
  bool operator==(const Stamp&) const = default;
};

struct Inode {
  struct State {
    uint64_t size_bytes = 0;
    std::vector<uint32_t> writes;  // of each block, the number of the last write to it
  };
  uint64_t number = 0;
  FileKind kind = FileKind::regular;
  State now;
  std::vector<State> history;  // each state that there was, `now` included
  uint32_t writes = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  uint32_t links = 1;

  [[nodiscard]] static uint32_t blocks(uint64_t size) {
    return static_cast<uint32_t>((size + io_align_bytes - 1) / io_align_bytes);
  }
};

class FakeDisk {
 public:
  struct Behaviour {
    uint32_t latency_us_max = 3'000;
    uint32_t open_error_per_mille = 0;
    uint32_t read_error_per_mille = 0;
    uint32_t short_read_per_mille = 0;
    int64_t tick_ns = 10'000'000;  // of time stamps
    bool may_open_twice = false;   // generations of one path share this node's own file
  };

  FakeDisk(uint64_t seed, uint32_t max_open_files, const content::ArenaView& arena)
      : random_(seed), open_(max_open_files), arena_(arena) {}

  Behaviour behaviour;
  uint32_t opens = 0;
  uint32_t reads = 0;

  // The world ------------------------------------------------------------------------------------

  void advance(Instant now) { now_ = now; }
  void create(const std::string& path, uint64_t size_bytes, FileKind kind = FileKind::regular) {
    auto inode = std::make_shared<Inode>();
    inode->number = ++inodes_;
    inode->kind = kind;
    resize(*inode, size_bytes);
    inode->modified_ns = inode->changed_ns = stamp_time();
    inode->history.push_back(inode->now);
    unlink(path);
    names_[path] = inode;
    by_number_[inode->number] = inode;
  }
  void unlink(const std::string& path) {
    const auto at = names_.find(path);
    if (at == names_.end()) return;
    --at->second->links;
    at->second->changed_ns = stamp_time();
    names_.erase(at);
  }
  /// One write to blocks [first, first + count) of the file in place.
  void rewrite(const std::string& path, uint32_t first, uint32_t count) {
    const auto at = names_.find(path);
    if (at == names_.end()) return;
    Inode& inode = *at->second;
    ++inode.writes;
    for (uint32_t i = first; i < first + count && i < inode.now.writes.size(); ++i) {
      inode.now.writes[i] = inode.writes;
    }
    touch(inode);
  }
  void truncate(const std::string& path, uint64_t size_bytes) {
    const auto at = names_.find(path);
    if (at == names_.end()) return;
    ++at->second->writes;
    resize(*at->second, size_bytes);
    touch(*at->second);
  }
  [[nodiscard]] std::shared_ptr<Inode> inode(uint64_t number) const {
    const auto at = by_number_.find(number);
    return at == by_number_.end() ? nullptr : at->second;
  }
  [[nodiscard]] const std::map<std::string, std::shared_ptr<Inode>>& names() const {
    return names_;
  }

  // The edge -------------------------------------------------------------------------------------

  void submit(const IoRequest& request) {
    if (request.kind == IoKind::close) {
      ASSERT_TRUE(open_[request.file]) << "closed a file that is not open";
      ASSERT_EQ(reading_.count(request.file), 0u) << "closed a file that is being read";
      open_[request.file] = nullptr;
      return;
    }
    Pending pending{request, std::string(request.path), {}};
    if (request.kind == IoKind::open) {
      ++opens;
      ASSERT_LT(request.file, open_.size());
      ASSERT_FALSE(open_[request.file]) << "opened twice";
      ASSERT_TRUE(opening_.insert(pending.path).second || behaviour.may_open_twice)
          << "two opens of " << pending.path;
      ASSERT_TRUE(opening_files_.insert(request.file).second);
    } else {
      ASSERT_TRUE(open_[request.file]) << "a file that is not open";
    }
    if (request.kind == IoKind::read) {
      ++reads;
      reading_.insert(request.file);
      ASSERT_TRUE(read_tokens_.insert(request.token).second) << "two reads of one piece";
      ASSERT_EQ(request.extent.offset_bytes % io_align_bytes, 0u);
      ASSERT_EQ(request.offset_bytes % io_align_bytes, 0u);
      ASSERT_GT(request.extent.length_bytes, 0u);
      if (on_read) on_read(request.extent);
    }
    const auto latency = Duration::from_us(
        static_cast<int64_t>(random_.below(uint64_t{behaviour.latency_us_max} + 1)));
    // A read happens at some time in between: half now, half when it completes.
    if (request.kind == IoKind::read && random_.chance(1, 2)) transfer(pending);
    pending_.emplace(now_ + latency, std::move(pending));
  }
  [[nodiscard]] bool poll_completion(IoCompletion& out) {
    if (pending_.empty() || pending_.begin()->first > now_) return false;
    Pending pending = pending_.begin()->second;
    pending_.erase(pending_.begin());
    out = complete(pending);
    return true;
  }
  [[nodiscard]] Instant next() const {
    return pending_.empty() ? Instant::never() : pending_.begin()->first;
  }
  [[nodiscard]] size_t in_flight() const { return pending_.size(); }
  [[nodiscard]] size_t open_files() const {
    size_t count = 0;
    for (const auto& file : open_) count += file != nullptr;
    return count;
  }

  std::function<void(const content::Extent&)> on_read;

 private:
  struct Pending {
    IoRequest request;
    std::string path;
    std::optional<uint32_t> bytes;
  };

  [[nodiscard]] int64_t stamp_time() const {
    return now_.ns() / behaviour.tick_ns * behaviour.tick_ns;
  }
  static void resize(Inode& inode, uint64_t size_bytes) {
    inode.now.size_bytes = size_bytes;
    inode.now.writes.resize(Inode::blocks(size_bytes), inode.writes);
  }
  void touch(Inode& inode) {
    inode.modified_ns = inode.changed_ns = stamp_time();
    inode.history.push_back(inode.now);
  }
  [[nodiscard]] FileFacts facts(const Inode& inode) const {
    return {.kind = inode.kind,
            .version = {1, inode.number, inode.now.size_bytes, inode.modified_ns, inode.changed_ns},
            .links = inode.links,
            .age_ns = now_.ns() - inode.changed_ns};
  }
  void transfer(Pending& pending) {
    const Inode& inode = *open_[pending.request.file];
    const IoRequest& request = pending.request;
    uint32_t length = request.extent.length_bytes;
    if (request.offset_bytes >= inode.now.size_bytes) {
      pending.bytes = 0;
      return;
    }
    length = static_cast<uint32_t>(
        std::min<uint64_t>(length, inode.now.size_bytes - request.offset_bytes));
    if (random_.chance(behaviour.short_read_per_mille, 1000)) {
      length = static_cast<uint32_t>(random_.below(uint64_t{length} + 1));
    }
    // Whole blocks arrive, as with O_DIRECT.
    for (uint32_t at = 0; at < length; at += io_align_bytes) {
      const auto block = static_cast<uint32_t>((request.offset_bytes + at) / io_align_bytes);
      const Stamp stamp{inode.number, block, inode.now.writes[block]};
      std::memcpy(
          arena_.bytes({request.extent.chunk, request.extent.offset_bytes + at, sizeof stamp})
              .data(),
          &stamp, sizeof stamp);
    }
    pending.bytes = length;
  }
  [[nodiscard]] IoCompletion complete(Pending& pending) {
    const IoRequest& request = pending.request;
    IoCompletion out{.kind = request.kind, .token = request.token};
    if (request.kind == IoKind::open) {
      opening_.erase(pending.path);
      opening_files_.erase(request.file);
      const auto at = names_.find(pending.path);
      if (random_.chance(behaviour.open_error_per_mille, 1000)) {
        static constexpr int errors[] = {EIO, EMFILE, EAGAIN, EACCES};
        out.error = errors[random_.below(4)];
      } else if (at == names_.end()) {
        out.error = ENOENT;
      } else {
        out.has_facts = true;
        out.facts = facts(*at->second);
        if (at->second->kind == FileKind::regular) open_[request.file] = at->second;
      }
      return out;
    }
    if (request.kind == IoKind::read) {
      read_tokens_.erase(request.token);
      reading_.erase(reading_.find(request.file));
      if (!pending.bytes) transfer(pending);
      out.bytes = *pending.bytes;
      if (random_.chance(behaviour.read_error_per_mille, 1000)) {
        out.error = EIO;
        out.bytes = 0;
      }
    }
    out.has_facts = true;
    out.facts = facts(*open_[request.file]);
    return out;
  }

  Prng random_;
  Instant now_;
  uint64_t inodes_ = 0;
  std::map<std::string, std::shared_ptr<Inode>> names_;
  std::map<uint64_t, std::shared_ptr<Inode>> by_number_;
  std::vector<std::shared_ptr<Inode>> open_;
  std::set<std::string> opening_;
  std::set<uint32_t> opening_files_;
  std::set<uint32_t> read_tokens_;
  std::multiset<uint32_t> reading_;
  std::multimap<Instant, Pending> pending_;
  content::ArenaView arena_;
};

}  // namespace sluice::store
