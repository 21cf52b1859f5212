// The engine allocates nothing after start: here every allocation made inside one of its calls
// aborts the program.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <new>

#include "inside_engine.h"
#include "scenario.h"
#include "world.h"

namespace {

void* allocate(size_t size, size_t alignment) {
  if (sluice::sim::inside_engine) {
    std::fputs("the engine allocated memory\n", stderr);
    std::abort();
  }
  void* memory =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(size_t size) {
  return allocate(size, 1);
}
void* operator new[](size_t size) {
  return allocate(size, 1);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace sluice::sim {
namespace {

// The judge must be able to fail.
TEST(NoAllocationDeathTest, TheAllocatorRefusesInsideTheEngine) {
  EXPECT_DEATH(
      {
        inside_engine = true;
        std::vector<int>* leaked = new std::vector<int>(1000);
        std::printf("%p", static_cast<void*>(leaked));
      },
      "the engine allocated memory");
}

TEST(NoAllocation, DownloadsOverABadLinkAllocateNothingInTheEngine) {
  World world(
      {.chunk_count = 4,
       .link = {.loss_per_10000 = 300, .reorder_per_10000 = 300, .corrupt_per_10000 = 100}});
  world.content().add_file("a", 500'000, 1);
  world.content().add_file("b", 2'000, 2);
  std::vector<ReferenceClient*> clients;
  for (int i = 0; i < 30; ++i) {
    ReferenceClient& client = world.connect();
    const std::string path = i % 3 == 0 ? "/a" : i % 3 == 1 ? "/b" : "/missing";
    client.send(world.now_ns(), "GET " + path + " HTTP/1.1\r\nHost: s\r\n\r\n");
    clients.push_back(&client);
  }
  world.run_for(5'000'000'000);
  for (size_t i = 0; i < clients.size(); ++i) {
    if (i % 2 == 0) {
      clients[i]->close(world.now_ns());
    } else {
      clients[i]->abort(world.now_ns());
    }
  }
  world.run_for(100'000'000'000);
  EXPECT_EQ(world.engine().snapshot().pins, 0u);
  EXPECT_GT(world.frames_sent(), 1000u);
}

TEST(NoAllocation, NeitherTheEnginesNorTheStoreAllocateInAScenario) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    EXPECT_EQ(run_scenario(seed).failure, "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace sluice::sim
