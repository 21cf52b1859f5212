#include "disk/disk.h"

#include "base/assert.h"
#include "disk/files.h"
#include "disk/plain_disk.h"
#include "disk/uring_disk.h"

namespace sluice::disk {

Result<std::unique_ptr<Disk>> Disk::create(const Options& options) {
  ASSERT(options.counters != nullptr && options.requests_max > 0 && options.chunk_bytes > 0);
  auto files = Files::open_root(options.root, options.max_open_files);
  if (!files) return fail(files.error());
  std::string why = "io_uring is off";
  if (options.use_io_uring) {
    auto again = Files::open_root(options.root, options.max_open_files);
    if (!again) return fail(again.error());
    auto disk = UringDisk::create(options, std::move(*again));
    if (disk) return disk;
    why = disk.error().message;
  }
  return PlainDisk::create(options, std::move(*files), why);
}

}  // namespace sluice::disk
