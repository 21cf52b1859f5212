// FixedArray: memory reserved once, at start, from the computed budget.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/assert.h"

namespace sluice {

/// An array whose length is chosen at construction and never changes. Move-only.
template <typename T>
class FixedArray {
 public:
  FixedArray() = default;
  explicit FixedArray(size_t size) : items_(std::make_unique<T[]>(size)), size_(size) {}

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] T& operator[](size_t i) {
    ASSERT(i < size_);
    return items_[i];
  }
  [[nodiscard]] const T& operator[](size_t i) const {
    ASSERT(i < size_);
    return items_[i];
  }
  [[nodiscard]] T* begin() { return items_.get(); }
  [[nodiscard]] T* end() { return items_.get() + size_; }
  [[nodiscard]] const T* begin() const { return items_.get(); }
  [[nodiscard]] const T* end() const { return items_.get() + size_; }
  [[nodiscard]] std::span<T> span() { return {items_.get(), size_}; }
  [[nodiscard]] std::span<const T> span() const { return {items_.get(), size_}; }

 private:
  std::unique_ptr<T[]> items_;
  size_t size_ = 0;
};

}  // namespace sluice
