// UringDisk: the Disk over io_uring. See disk/disk.h.
//
// An open is openat2 and then a stat; a read is a read and then a stat of the same file. On local
// file systems the stat is a plain system call, which never waits there and costs less than a
// detour through the kernel's worker threads; on remote ones it goes through the ring as well.
#pragma once

#include <liburing.h>

#include <array>

#include "base/bounded_queue.h"
#include "base/index_pool.h"
#include "disk/disk.h"
#include "disk/files.h"
#include "disk/watches.h"

namespace sluice::disk {

class UringDisk final : public Disk {
 public:
  /// Returns an error where the kernel has no io_uring for us, or too old a one.
  [[nodiscard]] static Result<std::unique_ptr<Disk>> create(const Options& options, Files files);
  ~UringDisk() override;

  void submit(const store::IoRequest& request) override;
  [[nodiscard]] bool poll_completion(store::IoCompletion& out) override;
  [[nodiscard]] bool poll_change(Change& out) override;
  void wait(Duration limit) override;
  void flush() override;
  [[nodiscard]] bool has_completions() override;
  void wake() override;
  [[nodiscard]] const std::string& description() const override { return description_; }

 private:
  struct Operation {
    store::IoRequest request;
    open_how how{};
    struct statx found {};
    int descriptor = -1;       // open: what was opened
    bool looking = false;      // its stat is in the ring
    bool direct = false;       // read: with O_DIRECT
    bool watched_now = false;  // open: done again because its directory was not watched before
    store::IoCompletion done;
    std::array<char, store::path_bytes_max + 1> path;
  };

  UringDisk(const Options& options, Files files);
  [[nodiscard]] Result<void> set_up();
  void register_content();
  [[nodiscard]] io_uring_sqe* entry();
  void enable();
  void arm_wake();
  void arm_changes();
  void start_open(uint32_t operation);
  void start_read(uint32_t operation);
  void start_close(int descriptor);
  void look(uint32_t operation, int descriptor);
  void reap();
  void handle(uint64_t data, int result);
  void handle_opened(uint32_t operation, int result);
  void handle_read(uint32_t operation, int result);
  void handle_found(uint32_t operation, int result);
  void finish_open(uint32_t operation, int error, const store::FileFacts& facts);
  void finish(uint32_t operation, int error);

  Options options_;
  stats::Counters& counters_;
  Files files_;
  Watches watches_;
  io_uring ring_{};
  bool has_ring_ = false;
  bool enabled_ = false;
  unsigned skip_success_ = 0;      // flag of a request whose success is not told
  uint64_t bytes_per_buffer_ = 0;  // registered; 0: none
  FixedArray<Operation> operations_;
  IndexPool free_;
  BoundedQueue<uint32_t> finished_;
  int wake_ = -1;
  bool events_armed_ = false;
  bool wake_armed_ = false;
  Instant events_rest_until_;
  std::string description_;
};

}  // namespace sluice::disk
