// Instant and Duration: time as an argument.
//
// Pure code never reads a clock. Instants come from one monotonic clock per process (or from the
// simulator) and never go backwards. Resolution 1 ns, range 292 years.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace sluice {

/// A signed span of time. Units: nanoseconds.
class Duration {
 public:
  constexpr Duration() = default;
  [[nodiscard]] static constexpr Duration from_ns(int64_t value) { return Duration(value); }
  [[nodiscard]] static constexpr Duration from_us(int64_t value) { return Duration(value * 1'000); }
  [[nodiscard]] static constexpr Duration from_ms(int64_t value) {
    return Duration(value * 1'000'000);
  }
  [[nodiscard]] static constexpr Duration from_s(int64_t value) {
    return Duration(value * 1'000'000'000);
  }
  [[nodiscard]] static constexpr Duration max() {
    return Duration(std::numeric_limits<int64_t>::max());
  }

  [[nodiscard]] constexpr int64_t ns() const { return ns_; }
  [[nodiscard]] constexpr int64_t us() const { return ns_ / 1'000; }
  [[nodiscard]] constexpr int64_t ms() const { return ns_ / 1'000'000; }

  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration& operator+=(Duration other) {
    ns_ += other.ns_;
    return *this;
  }
  constexpr Duration& operator-=(Duration other) {
    ns_ -= other.ns_;
    return *this;
  }
  friend constexpr Duration operator+(Duration a, Duration b) { return Duration(a.ns_ + b.ns_); }
  friend constexpr Duration operator-(Duration a, Duration b) { return Duration(a.ns_ - b.ns_); }
  friend constexpr Duration operator-(Duration a) { return Duration(-a.ns_); }
  friend constexpr Duration operator*(Duration a, int64_t k) { return Duration(a.ns_ * k); }
  friend constexpr Duration operator*(int64_t k, Duration a) { return Duration(a.ns_ * k); }
  friend constexpr Duration operator/(Duration a, int64_t k) { return Duration(a.ns_ / k); }
  friend constexpr int64_t operator/(Duration a, Duration b) { return a.ns_ / b.ns_; }

 private:
  constexpr explicit Duration(int64_t ns) : ns_(ns) {}
  int64_t ns_ = 0;
};

/// A point on the process's monotonic clock. `Instant::never()` is later than all others.
class Instant {
 public:
  constexpr Instant() = default;
  [[nodiscard]] static constexpr Instant from_ns(int64_t value) { return Instant(value); }
  [[nodiscard]] static constexpr Instant never() {
    return Instant(std::numeric_limits<int64_t>::max());
  }

  [[nodiscard]] constexpr int64_t ns() const { return ns_; }
  [[nodiscard]] constexpr bool is_never() const { return *this == never(); }

  constexpr auto operator<=>(const Instant&) const = default;
  /// Saturates at never().
  friend constexpr Instant operator+(Instant a, Duration d) {
    int64_t sum = 0;
    if (__builtin_add_overflow(a.ns_, d.ns(), &sum)) return never();
    return Instant(sum);
  }
  friend constexpr Instant operator-(Instant a, Duration d) { return Instant(a.ns_ - d.ns()); }
  friend constexpr Duration operator-(Instant a, Instant b) {
    return Duration::from_ns(a.ns_ - b.ns_);
  }

 private:
  constexpr explicit Instant(int64_t ns) : ns_(ns) {}
  int64_t ns_ = 0;
};

/// Wall-clock time. Units: nanoseconds since 1970-01-01 00:00:00 UTC, without leap seconds.
struct WallTime {
  int64_t unix_ns = 0;

  constexpr auto operator<=>(const WallTime&) const = default;
  [[nodiscard]] constexpr int64_t unix_seconds() const {
    const int64_t whole = unix_ns / 1'000'000'000;
    return unix_ns % 1'000'000'000 < 0 ? whole - 1 : whole;
  }
};

inline namespace literals {
constexpr Duration operator""_ns(unsigned long long v) {
  return Duration::from_ns(static_cast<int64_t>(v));
}
constexpr Duration operator""_us(unsigned long long v) {
  return Duration::from_us(static_cast<int64_t>(v));
}
constexpr Duration operator""_ms(unsigned long long v) {
  return Duration::from_ms(static_cast<int64_t>(v));
}
constexpr Duration operator""_s(unsigned long long v) {
  return Duration::from_s(static_cast<int64_t>(v));
}
}  // namespace literals

}  // namespace sluice
