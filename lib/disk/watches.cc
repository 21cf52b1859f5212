#include "disk/watches.h"

#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "disk/files.h"

namespace sluice::disk {
namespace {

using stats::Counter;

constexpr uint32_t mask = IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE |
                          IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK;

bool is_beneath(std::string_view path, std::string_view directory) {
  if (directory.empty()) return true;
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

Watches::Watches(int root, uint32_t max, stats::Counters& counters)
    : root_(root), max_(max), counters_(counters) {
  if (max > 0) inotify_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (inotify_ < 0) max_ = 0;
  by_path_.reserve(max_);
  by_descriptor_.reserve(max_);
}

Watches::~Watches() {
  if (inotify_ >= 0) close(inotify_);
}

bool Watches::add_way_to(std::string_view path) {
  if (max_ == 0) return false;
  const size_t slash = path.rfind('/');
  const std::string_view directory = slash == std::string_view::npos ? "" : path.substr(0, slash);
  if (by_path_.contains(directory)) return false;  // so is the way to it
  bool added = add("");
  for (size_t end = directory.find('/'); end != std::string_view::npos;
       end = directory.find('/', end + 1)) {
    added |= add(directory.substr(0, end));
  }
  added |= add(directory);
  return added;
}

bool Watches::add(std::string_view directory) {
  if (by_path_.contains(directory)) return false;
  if (by_path_.size() >= max_ || by_descriptor_.size() >= max_) {
    counters_.add(Counter::store_watches_refused);
    return false;
  }
  std::string path(directory.empty() ? "." : directory);
  open_how how = Files::how_directory();
  const auto opened = static_cast<int>(syscall(SYS_openat2, root_, path.c_str(), &how, sizeof how));
  if (opened < 0) return false;
  // By way of the descriptor: the very directory that the kernel found beneath the root.
  const std::string link = "/proc/self/fd/" + std::to_string(opened);
  const int watch = inotify_add_watch(inotify_, link.c_str(), mask);
  const bool is_limit = watch < 0 && errno == ENOSPC;  // fs.inotify.max_user_watches
  close(opened);
  if (is_limit) max_ = static_cast<uint32_t>(by_path_.size());
  if (watch < 0) {
    counters_.add(Counter::store_watches_refused);
    return false;
  }
  const auto [known, is_new] = by_descriptor_.try_emplace(watch);
  if (is_new) {
    known->second.path = directory;
  } else {
    known->second.many_names = true;
  }
  by_path_.emplace(directory, watch);
  return true;
}

// Its name leads elsewhere now: so do the names beneath it.
void Watches::forget(std::string_view directory) {
  for (auto at = by_path_.begin(); at != by_path_.end();) {
    if (!is_beneath(at->first, directory)) {
      ++at;
      continue;
    }
    const int watch = at->second;
    at = by_path_.erase(at);
    const auto known = by_descriptor_.find(watch);
    if (known == by_descriptor_.end() || known->second.many_names) continue;
    inotify_rm_watch(inotify_, watch);
    by_descriptor_.erase(known);
  }
}

void Watches::forget_watch(int watch) {
  by_descriptor_.erase(watch);
  std::erase_if(by_path_, [watch](const auto& entry) { return entry.second == watch; });
}

void Watches::read_events() {
  const ssize_t length = read(inotify_, buffer_.data(), buffer_.size());
  events_ = Bytes(buffer_).first(length > 0 ? static_cast<size_t>(length) : 0);
}

bool Watches::poll_change(Change& out) {
  while (events_.size() >= sizeof(inotify_event)) {
    inotify_event event;
    std::memcpy(&event, events_.data(), sizeof event);
    const size_t length = sizeof event + event.len;
    if (length > events_.size()) break;
    const auto* name = reinterpret_cast<const char*>(events_.data() + sizeof event);
    const std::string_view file(name, strnlen(name, event.len));
    events_ = events_.subspan(length);

    out = {.anywhere = true};
    if ((event.mask & IN_Q_OVERFLOW) != 0) return true;
    const auto known = by_descriptor_.find(event.wd);
    if (known == by_descriptor_.end()) continue;  // forgotten since
    if ((event.mask & IN_IGNORED) != 0) {
      forget_watch(event.wd);
      return true;
    }
    if (known->second.many_names) return true;
    if (file.empty()) {
      if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF)) == 0) continue;  // its own attributes
      forget(std::string(known->second.path));
      return true;
    }
    changed_path_ = known->second.path;
    if (!changed_path_.empty()) changed_path_ += '/';
    changed_path_ += file;
    constexpr uint32_t moved = IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE;
    if (by_path_.contains(changed_path_)) {
      if ((event.mask & moved) == 0) continue;
      forget(std::string(changed_path_));
      return true;
    }
    out = {.path = changed_path_};
    return true;
  }
  events_ = {};
  return false;
}

}  // namespace sluice::disk
