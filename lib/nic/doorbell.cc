#include "nic/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace sluice::nic {
namespace {

constexpr int64_t ns_per_s = 1'000'000'000;

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));  // what the kernel looks at

}  // namespace

void Doorbell::wait(Duration limit) {
  const timespec time{.tv_sec = limit.ns() / ns_per_s, .tv_nsec = limit.ns() % ns_per_s};
  // Does not sleep at all when somebody has rung since: the word is 0 then.
  syscall(SYS_futex, &asleep_, FUTEX_WAIT_PRIVATE, 1, &time, nullptr, 0);
  stay_awake();
}

void Doorbell::ring() {
  if (asleep_.exchange(0, std::memory_order_relaxed) == 0) return;  // somebody else rings
  syscall(SYS_futex, &asleep_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace sluice::nic
