// A directory of one test, removed after it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/bytes.h"

namespace sluice::disk {

class TempTree {
 public:
  explicit TempTree(const std::string& parent = "") {
    const char* from = std::getenv("TMPDIR");
    std::string name = parent.empty() ? (from != nullptr ? from : "/tmp") : parent;
    name += "/sluice-disk-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TempTree() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;

  [[nodiscard]] std::string at(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& root() const { return path_; }
  void write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories(std::filesystem::path(at(name)).parent_path());
    std::ofstream(at(name), std::ios::binary | std::ios::trunc) << bytes;
  }
  /// Bytes that tell where they stand.
  [[nodiscard]] static std::string pattern(size_t length, uint32_t seed) {
    std::string bytes(length, '\0');
    for (size_t i = 0; i < length; ++i) {
      bytes[i] = static_cast<char>((i * 131 + i / 4096 * 7 + seed * 31 + seed) & 0xff);
    }
    return bytes;
  }
  /// So long ago that its time stamps are settled.
  void age() const { usleep(25'000); }

 private:
  std::string path_;
};

/// Memory for chunks, aligned as the arena's.
class TestMemory {
 public:
  explicit TestMemory(size_t bytes) : bytes_(bytes) {
    at_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  ~TestMemory() { munmap(at_, bytes_); }
  TestMemory(const TestMemory&) = delete;
  TestMemory& operator=(const TestMemory&) = delete;
  [[nodiscard]] MutableBytes bytes() const { return {static_cast<std::byte*>(at_), bytes_}; }

 private:
  void* at_;
  size_t bytes_;
};

}  // namespace sluice::disk
