// Tap: one end of the emulated link, a tap interface inside a network namespace.
//
// The interface exists while its Tap does. The kernel hands out what it would put on a wire:
// without offloads negotiated it segments and sums in software, so no frame is longer than the
// interface's MTU allows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace sluice::perf {

class Tap {
 public:
  /// Makes interface `name` in namespace `space` (a name of `ip netns`). Requires: CAP_SYS_ADMIN.
  /// The calling thread's own namespace is as before when it returns.
  [[nodiscard]] static Result<Tap> open(const std::string& space, const std::string& name);
  Tap(Tap&& other) noexcept;
  Tap& operator=(Tap&&) = delete;
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;
  ~Tap();

  /// Returns: bytes of the frame read; 0 when there is none.
  [[nodiscard]] size_t read(std::span<std::byte> into) const;
  /// Returns: false when the kernel did not take it.
  [[nodiscard]] bool write(std::span<const std::byte> frame) const;
  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  explicit Tap(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace sluice::perf
