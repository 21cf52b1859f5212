#include "disk/plain_disk.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace sluice::disk {

using stats::Counter;
using store::IoCompletion;
using store::IoKind;
using store::IoRequest;

Result<std::unique_ptr<Disk>> PlainDisk::create(const Options& options, Files files,
                                                const std::string& why) {
  std::unique_ptr<PlainDisk> disk(new PlainDisk(options, std::move(files)));
  disk->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (disk->wake_ < 0) return fail(std::string("cannot make an eventfd: ") + strerror(errno));
  disk->description_ = "plain reads, one at a time (" + why + ")";
  return disk;
}

PlainDisk::PlainDisk(const Options& options, Files files)
    : options_(options),
      counters_(*options.counters),
      files_(std::move(files)),
      watches_(files_.root(), options.watches_max, counters_),
      finished_(options.requests_max) {
  path_.reserve(store::path_bytes_max);
}

PlainDisk::~PlainDisk() {
  if (wake_ >= 0) close(wake_);
}

void PlainDisk::submit(const IoRequest& request) {
  IoCompletion done{.kind = request.kind, .token = request.token};
  switch (request.kind) {
    case IoKind::open:
      open(request, done);
      break;
    case IoKind::stat:
      done.error = Files::look(files_.descriptor(request.file), done.facts);
      done.has_facts = done.error == 0;
      break;
    case IoKind::read:
      read(request, done);
      break;
    case IoKind::close:
      close(files_.release(request.file));
      return;
  }
  const bool pushed = finished_.push(done);
  ASSERT(pushed);
}

void PlainDisk::open(const IoRequest& request, IoCompletion& done) {
  path_ = request.path;
  open_how how = Files::how();
  const auto open_now = [&] {
    return static_cast<int>(syscall(SYS_openat2, files_.root(), path_.c_str(), &how, sizeof how));
  };
  int descriptor = open_now();
  if (descriptor >= 0 && watches_.add_way_to(path_)) {
    // What changed before the watch was there went unnoticed: open it again.
    close(descriptor);
    descriptor = open_now();
  }
  if (descriptor < 0) {
    done.error = errno;
    return;
  }
  done.error = Files::look(descriptor, done.facts);
  done.has_facts = done.error == 0;
  if (done.has_facts && done.facts.kind == store::FileKind::regular) {
    files_.keep(request.file, descriptor, options_.use_direct);
  } else {
    close(descriptor);
  }
}

void PlainDisk::read(const IoRequest& request, IoCompletion& done) {
  const uint64_t start =
      uint64_t{request.extent.chunk.value()} * options_.chunk_bytes + request.extent.offset_bytes;
  ASSERT(start + direct_length(request.extent.length_bytes) <= options_.content.size());
  const auto read_now = [&] {
    const bool direct = files_.is_direct(request.file);
    if (!direct) counters_.add(Counter::store_reads_buffered);
    const uint32_t length =
        direct ? direct_length(request.extent.length_bytes) : request.extent.length_bytes;
    return pread(files_.descriptor(request.file), options_.content.data() + start, length,
                 static_cast<off_t>(request.offset_bytes));
  };
  ssize_t result = read_now();
  if (result < 0 && errno == EINVAL && files_.is_direct(request.file)) {
    files_.make_buffered(request.file);
    result = read_now();
  }
  if (result < 0 && errno == EINTR) result = 0;  // nothing arrived: the Store asks again
  if (result < 0) {
    done.error = errno;
  } else {
    done.bytes = std::min(static_cast<uint32_t>(result), request.extent.length_bytes);
  }
  const int error = Files::look(files_.descriptor(request.file), done.facts);
  done.has_facts = error == 0;
  if (done.error == 0) done.error = error;
}

bool PlainDisk::poll_completion(IoCompletion& out) {
  return finished_.pop(out);
}

bool PlainDisk::poll_change(Change& out) {
  return watches_.poll_change(out);
}

void PlainDisk::wait(Duration limit) {
  if (!finished_.empty()) return;
  pollfd ready[] = {{wake_, POLLIN, 0}, {watches_.descriptor(), POLLIN, 0}};
  limit = std::max(limit, Duration());
  const timespec until{limit.ns() / 1'000'000'000, limit.ns() % 1'000'000'000};
  if (ppoll(ready, 2, &until, nullptr) <= 0) return;
  uint64_t count;
  if (ready[0].revents != 0) {
    [[maybe_unused]] const ssize_t length = ::read(wake_, &count, sizeof count);
  }
  if (ready[1].revents != 0 && watches_.is_drained()) watches_.read_events();
}

void PlainDisk::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
}

}  // namespace sluice::disk
