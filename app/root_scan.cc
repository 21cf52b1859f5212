#include "root_scan.h"

#include <sys/stat.h>

#include <filesystem>
#include <system_error>

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

// After a change for so long nothing is said of it.
constexpr int64_t settle_ns = 500'000'000;

int64_t nanoseconds(const timespec& at) {
  return at.tv_sec * 1'000'000'000 + at.tv_nsec;
}

}  // namespace

std::vector<RootScan::Change> RootScan::look(int64_t now_ns) {
  std::vector<Change> changes;
  ++looks_;
  is_full_ = false;
  std::error_code error;
  fs::recursive_directory_iterator at(root_, fs::directory_options::skip_permission_denied, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    struct stat facts {};
    if (stat(at->path().c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
    std::string path = at->path().lexically_relative(root_).string();
    auto known = files_.find(path);
    if (known == files_.end() && files_.size() >= files_max_) {
      is_full_ = true;
      continue;
    }
    if (known != files_.end()) known->second.seen = looks_;
    const Facts now{facts.st_dev, facts.st_ino, static_cast<uint64_t>(facts.st_size),
                    nanoseconds(facts.st_mtim), nanoseconds(facts.st_ctim)};
    if (now_ns - now.changed_ns < settle_ns && now_ns >= now.changed_ns) continue;
    if (known == files_.end()) {
      files_.emplace(path, File{now, looks_});
    } else if (known->second.told == now) {
      continue;
    } else {
      known->second.told = now;
    }
    changes.push_back({std::move(path), false});
  }
  // A walk that broke off has not seen everything: nothing is said to be gone.
  if (error) return changes;
  for (auto file = files_.begin(); file != files_.end();) {
    if (file->second.seen == looks_) {
      ++file;
      continue;
    }
    changes.push_back({file->first, true});
    file = files_.erase(file);
  }
  return changes;
}

}  // namespace sluice::app
