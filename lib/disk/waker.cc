#include "disk/waker.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace sluice::disk {

Waker::Waker() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Waker::~Waker() {
  if (fd_ >= 0) close(fd_);
}

void Waker::stay_awake() {
  asleep_.store(false, std::memory_order_relaxed);
  uint64_t rings = 0;
  // Nobody rang: EAGAIN.
  static_cast<void>(read(fd_, &rings, sizeof rings));
}

void Waker::ring() {
  if (!asleep_.exchange(false, std::memory_order_relaxed)) return;  // somebody else rings
  const uint64_t one = 1;
  // Can fail only when the counter is full: then the descriptor is readable as it is.
  static_cast<void>(write(fd_, &one, sizeof one));
}

}  // namespace sluice::disk
