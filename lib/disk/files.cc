#include "disk/files.h"

#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

namespace sluice::disk {
namespace {

// File systems whose stat may ask another machine, or another program.
bool is_remote(uint64_t magic) {
  constexpr uint64_t cifs = 0xFF534D42, smb2 = 0xFE534D42, ceph = 0x00C36400, lustre = 0x0BD00BD0,
                     fuse = 0x65735546, gfs2 = 0x01161970, ocfs2 = 0x7461636F;
  switch (magic) {
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case AFS_SUPER_MAGIC:
    case AFS_FS_MAGIC:
    case CODA_SUPER_MAGIC:
    case V9FS_MAGIC:
    case cifs:
    case smb2:
    case ceph:
    case lustre:
    case fuse:
    case gfs2:
    case ocfs2:
      return true;
    default:
      return false;
  }
}

int64_t nanoseconds(const statx_timestamp& at) {
  return at.tv_sec * 1'000'000'000 + at.tv_nsec;
}

int64_t wall_clock_ns() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

Result<Files> Files::open_root(const std::string& root, uint32_t max_open_files) {
  Files files;
  files.root_ = open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (files.root_ < 0) return fail("cannot open the directory " + root + ": " + strerror(errno));
  open_how how = how_directory();
  const auto beneath = static_cast<int>(syscall(SYS_openat2, files.root_, ".", &how, sizeof how));
  if (beneath < 0) {
    return fail(std::string("the kernel does not let us resolve paths beneath the root (openat2, "
                            "Linux 5.6; a seccomp filter may forbid it): ") +
                strerror(errno));
  }
  close(beneath);
  struct statfs about;
  if (fstatfs(files.root_, &about) == 0) {
    files.is_local_ = !is_remote(static_cast<uint32_t>(about.f_type));
  }
  files.open_ = FixedArray<Open>(max_open_files);
  return files;
}

Files::Files(Files&& other) noexcept
    : root_(std::exchange(other.root_, -1)),
      is_local_(other.is_local_),
      open_(std::move(other.open_)) {
  other.open_ = FixedArray<Open>();
}

Files::~Files() {
  for (const Open& file : open_) {
    if (file.descriptor >= 0) close(file.descriptor);
  }
  if (root_ >= 0) close(root_);
}

open_how Files::how() {
  open_how how{};
  // O_NONBLOCK: a FIFO without a writer, or a device, does not hold the thread up.
  how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return how;
}

open_how Files::how_directory() {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return how;
}

void Files::keep(uint32_t file, int descriptor, bool direct) {
  // Also drops O_NONBLOCK, which io_uring would take for "rather fail than wait".
  direct = direct && fcntl(descriptor, F_SETFL, O_DIRECT) == 0;
  if (!direct) fcntl(descriptor, F_SETFL, 0);
  open_[file] = {descriptor, direct};
}

int Files::release(uint32_t file) {
  return std::exchange(open_[file].descriptor, -1);
}

void Files::make_buffered(uint32_t file) {
  fcntl(open_[file].descriptor, F_SETFL, 0);
  open_[file].direct = false;
}

int Files::look(int descriptor, store::FileFacts& facts) {
  struct statx found;
  if (statx(descriptor, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &found) != 0) return errno;
  facts = facts_of(found);
  return 0;
}

store::FileFacts Files::facts_of(const struct statx& from) {
  store::FileFacts facts;
  facts.kind = S_ISREG(from.stx_mode)   ? store::FileKind::regular
               : S_ISDIR(from.stx_mode) ? store::FileKind::directory
                                        : store::FileKind::other;
  facts.version = {.device = makedev(from.stx_dev_major, from.stx_dev_minor),
                   .inode = from.stx_ino,
                   .size_bytes = from.stx_size,
                   .modified_ns = nanoseconds(from.stx_mtime),
                   .changed_ns = nanoseconds(from.stx_ctime)};
  facts.links = from.stx_nlink;
  facts.age_ns = wall_clock_ns() - facts.version.changed_ns;
  return facts;
}

}  // namespace sluice::disk
