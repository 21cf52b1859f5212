#include "simulated_disk.h"

#include <algorithm>
#include <cerrno>

#include "base/assert.h"
#include "content_source.h"

namespace sluice::sim {
namespace {

// The Store takes a disk that makes no progress in four reads for broken: this one only dawdles.
constexpr uint32_t short_in_a_row_max = 3;

}  // namespace

void SimulatedDisk::put(int64_t now_ns, const std::string& path, uint64_t size, uint64_t seed) {
  std::shared_ptr<Inode>& name = names_[path];
  if (name) {
    name->links = 0;
    name->changed_ns = now_ns;
  }
  name = std::make_shared<Inode>(
      Inode{.number = ++inodes_, .size = size, .seed = seed, .changed_ns = now_ns, .links = 1});
}

void SimulatedDisk::restart(const content::ArenaView& arena) {
  arena_ = arena;
  pending_.clear();
  std::fill(open_.begin(), open_.end(), nullptr);
}

void SimulatedDisk::submit(int64_t now_ns, const store::IoRequest& request) {
  if (request.kind == store::IoKind::close) {
    ASSERT(open_[request.file] != nullptr);
    open_[request.file] = nullptr;
    return;
  }
  ASSERT((open_[request.file] == nullptr) == (request.kind == store::IoKind::open));
  const auto spread = static_cast<uint64_t>(options_.latency_ns_max - options_.latency_ns_min);
  const int64_t latency = options_.latency_ns_min + static_cast<int64_t>(prng_.below(spread + 1));
  pending_.emplace(now_ns + latency, Pending{request, std::string(request.path)});
}

bool SimulatedDisk::poll(int64_t now_ns, store::IoCompletion& out) {
  if (next_ns() > now_ns) return false;
  const Pending pending = std::move(pending_.begin()->second);
  pending_.erase(pending_.begin());
  const store::IoRequest& request = pending.request;
  out = {.kind = request.kind, .token = request.token};
  if (request.kind == store::IoKind::open) {
    const auto at = names_.find(pending.path);
    if (prng_.chance(options_.open_error_per_10000, 10'000)) {
      ++errors_;
      out.error = EIO;
    } else if (at == names_.end()) {
      out.error = ENOENT;
    } else {
      open_[request.file] = at->second;
      out.has_facts = true;
      out.facts = facts(now_ns, *at->second);
    }
    return true;
  }
  const Inode& inode = *open_[request.file];
  if (request.kind == store::IoKind::read) read(inode, request, out);
  out.has_facts = true;
  out.facts = facts(now_ns, inode);
  return true;
}

void SimulatedDisk::read(const Inode& inode, const store::IoRequest& request,
                         store::IoCompletion& out) {
  ++reads_;
  if (prng_.chance(options_.read_error_per_10000, 10'000)) {
    ++errors_;
    out.error = EIO;
    return;
  }
  if (request.offset_bytes >= inode.size) return;
  auto length = static_cast<uint32_t>(
      std::min<uint64_t>(request.extent.length_bytes, inode.size - request.offset_bytes));
  const std::pair<uint64_t, uint64_t> place{inode.number, request.offset_bytes};
  if (prng_.chance(options_.short_read_per_10000, 10'000) &&
      short_in_a_row_[place]++ < short_in_a_row_max) {
    length = static_cast<uint32_t>(prng_.below(uint64_t{length} + 1));
  } else {
    short_in_a_row_.erase(place);
  }
  const MutableBytes bytes = arena_.bytes(request.extent);
  for (uint32_t i = 0; i < length; ++i) {
    bytes[i] = static_cast<std::byte>(pattern_byte(inode.seed, request.offset_bytes + i));
  }
  out.bytes = length;
}

store::FileFacts SimulatedDisk::facts(int64_t now_ns, const Inode& inode) const {
  return {.kind = store::FileKind::regular,
          .version = {1, inode.number, inode.size, inode.changed_ns, inode.changed_ns},
          .links = inode.links,
          .age_ns = now_ns - inode.changed_ns};
}

}  // namespace sluice::sim
