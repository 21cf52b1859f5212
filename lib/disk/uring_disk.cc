#include "disk/uring_disk.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <vector>

namespace sluice::disk {
namespace {

using stats::Counter;
using store::IoCompletion;
using store::IoKind;
using store::IoRequest;

// What a completion belongs to: an operation's number, or one of these.
constexpr uint64_t data_wake = uint64_t{1} << 32;
constexpr uint64_t data_events = data_wake + 1;
constexpr uint64_t data_close = data_wake + 2;

// io_uring: a registered buffer is at most 1 GiB.
constexpr uint64_t registered_bytes_max = uint64_t{1} << 30;
// A directory in which something changes all the time wakes the thread no oftener than this.
constexpr Duration events_every = 5_ms;
constexpr int close_wait_s_max = 5;

Instant clock_now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Instant::from_ns(now.tv_sec * 1'000'000'000 + now.tv_nsec);
}

__kernel_timespec timespec_of(Duration duration) {
  return {.tv_sec = duration.ns() / 1'000'000'000, .tv_nsec = duration.ns() % 1'000'000'000};
}

// The operations without which there is no use in it.
bool has_operations(io_uring& ring) {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  if (probe == nullptr) return false;
  bool all = true;
  for (const int operation : {IORING_OP_OPENAT2, IORING_OP_STATX, IORING_OP_READ,
                              IORING_OP_READ_FIXED, IORING_OP_CLOSE}) {
    all = all && io_uring_opcode_supported(probe, operation) != 0;
  }
  io_uring_free_probe(probe);
  return all;
}

}  // namespace

Result<std::unique_ptr<Disk>> UringDisk::create(const Options& options, Files files) {
  std::unique_ptr<UringDisk> disk(new UringDisk(options, std::move(files)));
  if (auto ready = disk->set_up(); !ready) return fail(ready.error());
  return disk;
}

UringDisk::UringDisk(const Options& options, Files files)
    : options_(options),
      counters_(*options.counters),
      files_(std::move(files)),
      watches_(files_.root(), options.watches_max, counters_),
      operations_(options.requests_max),
      free_(options.requests_max),
      finished_(options.requests_max) {}

Result<void> UringDisk::set_up() {
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) return fail(std::string("cannot make an eventfd: ") + strerror(errno));

  // The thread that uses it first becomes its owner (enable()). Completions are worked off only
  // when that thread asks, not by interrupting it; kernels before 6.1 do it the other way.
  const unsigned entries = std::min(std::bit_ceil(2 * options_.requests_max), 4'096u);
  io_uring_params params{};
  params.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
                 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  params.cq_entries = 4 * entries;
  int error = io_uring_queue_init_params(entries, &ring_, &params);
  if (error == -EINVAL) {
    params = {};
    params.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE;
    params.cq_entries = 4 * entries;
    error = io_uring_queue_init_params(entries, &ring_, &params);
  }
  if (error < 0) return fail(std::string("no io_uring: ") + strerror(-error));
  has_ring_ = true;
  if ((params.features & IORING_FEAT_EXT_ARG) == 0 || !has_operations(ring_)) {
    return fail("this kernel's io_uring is too old");
  }
  // The end of a close need not wake the thread.
  if ((params.features & IORING_FEAT_CQE_SKIP) != 0) skip_success_ = IOSQE_CQE_SKIP_SUCCESS;
  register_content();
  description_ = std::string("io_uring, ") + (bytes_per_buffer_ > 0 ? "registered" : "plain") +
                 " memory, " + (options_.use_direct ? "direct" : "buffered") + " reads";
  return {};
}

void UringDisk::register_content() {
  const uint64_t each = registered_bytes_max / options_.chunk_bytes * options_.chunk_bytes;
  if (options_.content.empty() || each == 0) return;
  std::vector<iovec> buffers;
  for (MutableBytes rest = options_.content; !rest.empty();) {
    const size_t length = std::min<size_t>(rest.size(), each);
    buffers.push_back({rest.data(), length});
    rest = rest.subspan(length);
  }
  // Refused for want of lockable memory (RLIMIT_MEMLOCK), say: reads work all the same.
  if (io_uring_register_buffers(&ring_, buffers.data(), static_cast<unsigned>(buffers.size())) ==
      0) {
    bytes_per_buffer_ = each;
  }
}

UringDisk::~UringDisk() {
  if (has_ring_) {
    const Instant give_up = clock_now() + Duration::from_s(close_wait_s_max);
    while (free_.in_use() > finished_.size() && clock_now() < give_up) wait(100_ms);
    if (enabled_) io_uring_submit(&ring_);  // the last closes
    io_uring_queue_exit(&ring_);
  }
  if (wake_ >= 0) close(wake_);
}

// Submission
// ------------------------------------------------------------------------------------------------

void UringDisk::enable() {
  if (enabled_) return;
  enabled_ = true;
  // liburing 2.3 declares io_uring_enable_rings() but does not export it.
  const long error =
      syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  ASSERT(error == 0);
  arm_wake();
  arm_changes();
}

io_uring_sqe* UringDisk::entry() {
  io_uring_sqe* at = io_uring_get_sqe(&ring_);
  if (at == nullptr) {
    enable();
    io_uring_submit(&ring_);
    at = io_uring_get_sqe(&ring_);
    ASSERT(at != nullptr);  // a submission takes all
  }
  return at;
}

void UringDisk::arm_wake() {
  io_uring_sqe* at = entry();
  io_uring_prep_poll_add(at, wake_, POLLIN);
  at->user_data = data_wake;
  wake_armed_ = true;
}

void UringDisk::arm_changes() {
  if (watches_.descriptor() < 0) return;
  io_uring_sqe* at = entry();
  io_uring_prep_poll_add(at, watches_.descriptor(), POLLIN);
  at->user_data = data_events;
  events_armed_ = true;
}

void UringDisk::submit(const IoRequest& request) {
  if (request.kind == IoKind::close) {
    start_close(files_.release(request.file));
    return;
  }
  const uint32_t number = free_.take();
  ASSERT(number != IndexPool::none);
  Operation& operation = operations_[number];
  operation.request = request;
  operation.done = {.kind = request.kind, .token = request.token};
  operation.looking = operation.watched_now = false;
  operation.descriptor = -1;
  switch (request.kind) {
    case IoKind::open: {
      const size_t length = std::min<size_t>(request.path.size(), store::path_bytes_max);
      std::copy_n(request.path.begin(), length, operation.path.begin());
      operation.path[length] = '\0';
      operation.request.path = {operation.path.data(), length};
      start_open(number);
      break;
    }
    case IoKind::stat:
      look(number, files_.descriptor(request.file));
      break;
    case IoKind::read:
      start_read(number);
      break;
    case IoKind::close:
      break;
  }
}

void UringDisk::start_open(uint32_t number) {
  Operation& operation = operations_[number];
  operation.how = Files::how();
  io_uring_sqe* at = entry();
  io_uring_prep_openat2(at, files_.root(), operation.path.data(), &operation.how);
  at->user_data = number;
}

void UringDisk::start_close(int descriptor) {
  // By a worker thread of the kernel: the last close of a deleted file frees its blocks.
  io_uring_sqe* at = entry();
  io_uring_prep_close(at, descriptor);
  io_uring_sqe_set_flags(at, IOSQE_ASYNC | skip_success_);
  at->user_data = data_close;
}

void UringDisk::start_read(uint32_t number) {
  const IoRequest& request = operations_[number].request;
  const uint64_t start =
      uint64_t{request.extent.chunk.value()} * options_.chunk_bytes + request.extent.offset_bytes;
  ASSERT(start + direct_length(request.extent.length_bytes) <= options_.content.size());
  const bool direct = files_.is_direct(request.file);
  operations_[number].direct = direct;
  if (!direct) counters_.add(Counter::store_reads_buffered);
  const uint32_t length =
      direct ? direct_length(request.extent.length_bytes) : request.extent.length_bytes;
  std::byte* to = options_.content.data() + start;
  io_uring_sqe* at = entry();
  const int from = files_.descriptor(request.file);
  if (bytes_per_buffer_ > 0) {
    io_uring_prep_read_fixed(at, from, to, length, request.offset_bytes,
                             static_cast<int>(start / bytes_per_buffer_));
  } else {
    io_uring_prep_read(at, from, to, length, request.offset_bytes);
  }
  at->user_data = number;
}

// Looks at an open file and goes on with the operation.
void UringDisk::look(uint32_t number, int descriptor) {
  Operation& operation = operations_[number];
  if (files_.is_local()) {
    handle_found(number, -Files::look(descriptor, operation.done.facts));
    return;
  }
  operation.looking = true;
  io_uring_sqe* at = entry();
  io_uring_prep_statx(at, descriptor, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &operation.found);
  at->user_data = number;
}

// Completion
// ------------------------------------------------------------------------------------------------

void UringDisk::reap() {
  constexpr unsigned batch = 64;
  std::array<io_uring_cqe*, batch> ready;
  for (;;) {
    const unsigned count = io_uring_peek_batch_cqe(&ring_, ready.data(), batch);
    for (unsigned i = 0; i < count; ++i) handle(ready[i]->user_data, ready[i]->res);
    io_uring_cq_advance(&ring_, count);
    if (count < batch) return;
  }
}

void UringDisk::handle(uint64_t data, int result) {
  if (data == data_close) return;
  if (data == data_wake) {
    wake_armed_ = false;
    uint64_t count;
    [[maybe_unused]] const ssize_t length = read(wake_, &count, sizeof count);
    return;
  }
  if (data == data_events) {
    events_armed_ = false;
    events_rest_until_ = clock_now() + events_every;
    watches_.read_events();
    return;
  }
  const auto number = static_cast<uint32_t>(data);
  Operation& operation = operations_[number];
  if (operation.looking) {
    operation.looking = false;
    if (result == 0) operation.done.facts = Files::facts_of(operation.found);
    handle_found(number, result);
  } else if (operation.request.kind == IoKind::open) {
    handle_opened(number, result);
  } else {
    handle_read(number, result);
  }
}

void UringDisk::handle_opened(uint32_t number, int result) {
  Operation& operation = operations_[number];
  if (result < 0) {
    finish(number, -result);
    return;
  }
  if (!operation.watched_now && watches_.add_way_to(operation.request.path)) {
    // What changed before the watch was there went unnoticed: open it again.
    operation.watched_now = true;
    start_close(result);
    start_open(number);
    return;
  }
  operation.descriptor = result;
  look(number, result);
}

void UringDisk::handle_read(uint32_t number, int result) {
  Operation& operation = operations_[number];
  const IoRequest& request = operation.request;
  if (result == -EINTR || result == -EAGAIN) {
    start_read(number);
    return;
  }
  // Another read of the same file may have found out first.
  if (result == -EINVAL && operation.direct) {
    files_.make_buffered(request.file);
    start_read(number);
    return;
  }
  if (result < 0) {
    operation.done.error = -result;
  } else {
    operation.done.bytes = std::min(static_cast<uint32_t>(result), request.extent.length_bytes);
  }
  look(number, files_.descriptor(request.file));
}

void UringDisk::handle_found(uint32_t number, int result) {
  Operation& operation = operations_[number];
  operation.done.has_facts = result == 0;
  if (operation.request.kind == IoKind::open) {
    const bool keep = result == 0 && operation.done.facts.kind == store::FileKind::regular;
    if (keep) {
      files_.keep(operation.request.file, operation.descriptor, options_.use_direct);
    } else {
      start_close(operation.descriptor);
    }
  }
  finish(number, operation.done.error != 0 ? operation.done.error : -result);
}

void UringDisk::finish(uint32_t number, int error) {
  operations_[number].done.error = error;
  const bool pushed = finished_.push(number);
  ASSERT(pushed);
}

bool UringDisk::has_completions() {
  if (finished_.empty()) reap();
  return !finished_.empty();
}

bool UringDisk::poll_completion(IoCompletion& out) {
  if (finished_.empty()) reap();
  uint32_t number;
  if (!finished_.pop(number)) return false;
  out = operations_[number].done;
  free_.give_back(number);
  return true;
}

bool UringDisk::poll_change(Change& out) {
  return watches_.poll_change(out);
}

// Sleep
// ------------------------------------------------------------------------------------------------

void UringDisk::flush() {
  enable();
  if (!wake_armed_) arm_wake();
  io_uring_submit(&ring_);
}

void UringDisk::wait(Duration limit) {
  enable();
  if (!wake_armed_) arm_wake();
  if (!events_armed_ && watches_.is_drained()) {
    const Duration rest = events_rest_until_ - clock_now();
    if (rest <= Duration()) {
      arm_changes();
    } else {
      limit = std::min(limit, rest);
    }
  }
  if (!finished_.empty() || limit <= Duration()) {
    io_uring_submit_and_get_events(&ring_);
  } else {
    io_uring_cqe* first = nullptr;
    __kernel_timespec until = timespec_of(limit);
    io_uring_submit_and_wait_timeout(&ring_, &first, 1, &until, nullptr);
  }
  reap();
}

void UringDisk::wake() {
  const uint64_t one = 1;
  // Fails only when the count is at its limit: then it is readable anyway.
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
}

}  // namespace sluice::disk
