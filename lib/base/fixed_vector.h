// FixedVector: a vector inside the object, with a capacity that is part of its type.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <type_traits>

#include "base/assert.h"

namespace sluice {

/// Holds up to Capacity trivially copyable elements in place. Never allocates.
template <typename T, size_t Capacity>
class FixedVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// Returns false, and changes nothing, when full.
  [[nodiscard]] bool push_back(const T& value) {
    if (size_ == Capacity) return false;
    items_[size_++] = value;
    return true;
  }
  void pop_back() {
    ASSERT(size_ > 0);
    --size_;
  }
  /// Removes the element at `index`, keeping the order of the rest.
  void erase(size_t index) {
    ASSERT(index < size_);
    for (size_t i = index + 1; i < size_; ++i) items_[i - 1] = items_[i];
    --size_;
  }
  /// Returns false, and changes nothing, when full.
  [[nodiscard]] bool insert(size_t index, const T& value) {
    ASSERT(index <= size_);
    if (size_ == Capacity) return false;
    for (size_t i = size_; i > index; --i) items_[i] = items_[i - 1];
    items_[index] = value;
    ++size_;
    return true;
  }
  void clear() { size_ = 0; }

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool full() const { return size_ == Capacity; }
  [[nodiscard]] static constexpr size_t capacity() { return Capacity; }
  [[nodiscard]] T& operator[](size_t i) {
    ASSERT(i < size_);
    return items_[i];
  }
  [[nodiscard]] const T& operator[](size_t i) const {
    ASSERT(i < size_);
    return items_[i];
  }
  [[nodiscard]] T& back() { return (*this)[size_ - 1]; }
  [[nodiscard]] const T& back() const { return (*this)[size_ - 1]; }
  [[nodiscard]] T* begin() { return items_.data(); }
  [[nodiscard]] T* end() { return items_.data() + size_; }
  [[nodiscard]] const T* begin() const { return items_.data(); }
  [[nodiscard]] const T* end() const { return items_.data() + size_; }
  [[nodiscard]] std::span<const T> span() const { return {items_.data(), size_}; }

 private:
  size_t size_ = 0;
  std::array<T, Capacity> items_{};
};

}  // namespace sluice
