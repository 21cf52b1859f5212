// DeviceWatch: RDMA devices that come and go. A thread of its own looks every second which devices
// the kernel offers to programs, opens those that came and registers the arena with them, which the
// replica's thread must never wait for; and says which went.
//
//   sysfs: uverbs0 is new   -> open, register ->  Change{came}  -> the mover uses it
//   sysfs: uverbs0 is gone  ------------------->  Change{gone}  -> the mover lets go,
//   confirm_gone()
//
// Why it looks, when rdma_cm has an event and devices have one: the kernel tells its parts one
// after another that a device goes, in the opposite order of their loading, and ib_uverbs waits
// until programs have let go of a device that cannot be taken from them (soft-RoCE). Where rdma_cm
// comes after it, its event comes never. What is told always is that uverbsN is gone from sysfs
// (drivers/infiniband/core/uverbs_main.c, ib_uverbs_remove_one()).
//
// Invariant: librdmacm closes the contexts of devices that are gone when it is asked for all of
// them; it is asked only when the mover has confirmed every device that went.
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "mover/descriptor.h"
#include "rdma/device.h"

namespace sluice::rdma {

/// A device as the kernel offers it to programs. The same name may be another device later.
struct OfferedDevice {
  std::string name;    // "uverbs0"
  uint64_t inode = 0;  // of its folder
  auto operator<=>(const OfferedDevice&) const = default;
};
[[nodiscard]] std::vector<OfferedDevice> offered_devices(const std::filesystem::path& sys = "/sys");

class DeviceWatch {
 public:
  struct Change {
    std::unique_ptr<Device> came;
    std::string gone;  // came is empty: the name of one that came before
  };

  explicit DeviceWatch(const mover::Options& options);
  /// Waits for a registration that is under way.
  ~DeviceWatch();
  DeviceWatch(const DeviceWatch&) = delete;
  DeviceWatch& operator=(const DeviceWatch&) = delete;

  [[nodiscard]] bool is_open() const { return ready_.is_open(); }
  /// Looks once, on the caller's thread. Requires: not started.
  void look();
  void start();

  // The mover's thread
  /// Readable when poll() has something.
  [[nodiscard]] int ready_fd() const { return ready_.get(); }
  [[nodiscard]] bool poll(Change& out);
  /// Nothing of a device that went is in use any more.
  void confirm_gone();
  /// Why there is no device, or not the one that is to be used.
  [[nodiscard]] std::string why_none();
  /// Lines for people.
  [[nodiscard]] bool poll_note(std::string& out);

 private:
  struct Known {
    OfferedDevice offered;
    ibv_context* context = nullptr;
    bool is_used = false;  // by the mover
    Instant retry_at;      // not used: when it is tried again
  };

  void run();
  [[nodiscard]] bool forget_gone(const std::vector<OfferedDevice>& offered);
  void open_new(const std::vector<OfferedDevice>& offered);
  void take(ibv_context* context, const OfferedDevice& offered, Instant now);
  void push(Change&& change);
  void set_why(const std::string& why);

  const mover::Options options_;
  const Verbs* verbs_ = nullptr;  // the looking thread's
  std::vector<Known> known_;      // likewise
  mover::Descriptor ready_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  uint32_t unconfirmed_ = 0;
  std::deque<Change> changes_;
  std::deque<std::string> notes_;
  std::string why_;
  std::thread thread_;
};

}  // namespace sluice::rdma
