#include "tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::perf {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  [[nodiscard]] int get() const { return value_; }
  [[nodiscard]] int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

Error failed(const std::string& what) {
  return {what + ": " + std::strerror(errno)};
}

}  // namespace

Result<Tap> Tap::open(const std::string& space, const std::string& name) {
  const Descriptor home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const Descriptor there(::open(("/run/netns/" + space).c_str(), O_RDONLY | O_CLOEXEC));
  if (home.get() < 0 || there.get() < 0) return fail(failed("namespace " + space));
  if (setns(there.get(), CLONE_NEWNET) != 0) return fail(failed("entering " + space));
  Descriptor tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  const bool made = tap.get() >= 0 && ioctl(tap.get(), TUNSETIFF, &request) == 0;
  const Error error = failed("tap " + name);
  if (setns(home.get(), CLONE_NEWNET) != 0) return fail(failed("leaving " + space));
  if (!made) return fail(error);
  return Tap(tap.release());
}

Tap::Tap(Tap&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

Tap::~Tap() {
  if (descriptor_ >= 0) close(descriptor_);
}

size_t Tap::read(std::span<std::byte> into) const {
  const ssize_t count = ::read(descriptor_, into.data(), into.size());
  return count > 0 ? static_cast<size_t>(count) : 0;
}

bool Tap::write(std::span<const std::byte> frame) const {
  return ::write(descriptor_, frame.data(), frame.size()) == static_cast<ssize_t>(frame.size());
}

}  // namespace sluice::perf
