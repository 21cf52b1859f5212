// Directories under everything at once, by seeds: publications, crashes, cut links, stalled and
// refusing holders, rotten copies, a registry that hangs. At every commit each counted node really
// verified it; when all is well again all agree, and what is said to be there is there.

#include <gtest/gtest.h>

#include "directory_world.h"

namespace sluice::replica {
namespace {

constexpr uint32_t paths = 3;

void disturb(World& world) {
  Prng& prng = world.prng();
  const size_t i = prng.below(world.size());
  const size_t k = prng.below(world.size());
  World::Member& member = world[i];
  const std::string path = "p" + std::to_string(prng.below(paths));
  switch (prng.below(14)) {
    case 0:
    case 1:
    case 2:
      if (member.up) {
        (void)world.publish(i, path, 1 + prng.below(1'000'000),
                            static_cast<uint8_t>(1 + prng.below(world.size() + 1)));
      }
      break;
    case 3:
      if (member.up) (void)world.directory(i).unpublish(world.now(), path);
      break;
    case 4:
      if (member.up && prng.chance(1, 2)) world.crash(i);
      break;
    case 5:
    case 6:
      if (!member.up) world.start(i);
      world.connect(i, k);
      break;
    case 7:
      world.disconnect(i, k);
      break;
    case 8:
      world.connect_all();
      break;
    case 9:
      member.holds_by_itself = prng.chance(2, 3);
      member.never_has_room = prng.chance(1, 5);
      break;
    case 10:
      if (member.up) {
        member.registry_hangs = prng.chance(1, 3);
        world.directory(i).handle(world.now(), Availability{!member.registry_hangs});
        if (prng.chance(1, 3)) world.directory(i).handle(world.now(), Fenced{});
      }
      break;
    case 11:
      if (member.up && !member.has.empty()) {
        const GenerationId rotten = *member.has.begin();
        member.has.erase(rotten);
        world.directory(i).handle_lost(world.now(), rotten);
      }
      break;
    case 12:
      member.disk[path] = prng.below(1'000'000);  // the file changes under it
      break;
    case 13:
      world.wall_offset_ns = static_cast<int64_t>(prng.below(20'000'000'000)) - 10'000'000'000;
      break;
  }
}

void heal(World& world) {
  for (size_t i = 0; i < world.size(); ++i) {
    if (!world[i].up) world.start(i);
    world[i].holds_by_itself = true;
    world[i].never_has_room = false;
    if (world[i].registry_hangs) {
      world[i].registry_hangs = false;
      world.directory(i).handle(world.now(), Availability{true});
    }
  }
  world.connect_all();
  for (int i = 0; i < 8; ++i) world.advance(100_s);
}

void check_copies(World& world) {
  for (const ReplicaRow& row : world.directory(0).replicas()) {
    if (!row.current || row.copies_verified == 0)
      continue;  // all that had it died: nobody can bring it back
    const size_t possible = std::min<size_t>(row.copies_asked, world.size());
    EXPECT_GE(row.copies_verified, possible) << row.path;
    EXPECT_EQ(row.degraded, row.copies_verified < row.copies_asked);
  }
}

class DirectorySimulation : public testing::TestWithParam<uint64_t> {};

TEST_P(DirectorySimulation, HoldsItsPromises) {
  uint64_t commits = 0;
  for (uint64_t n = 0; n < 100; ++n) {
    const uint64_t seed = GetParam() * 100 + n;
    World world(2 + seed % 4, seed);
    for (size_t i = 0; i < world.size(); ++i) world.start(i);
    world.connect_all();
    for (int turn = 0; turn < 120; ++turn) {
      disturb(world);
      const uint64_t steps = world.prng().below(12);
      for (uint64_t i = 0; i < steps; ++i) (void)world.step();
      if (world.prng().chance(1, 4)) {
        world.advance(Duration::from_ms(static_cast<int64_t>(world.prng().below(15'000))));
      }
      ASSERT_EQ(world.fault(), "") << "seed " << seed << ", turn " << turn;
    }
    heal(world);
    world.check_agreement();
    ASSERT_EQ(world.fault(), "") << "seed " << seed << ", healed\n" << world.describe();
    check_copies(world);
    if (HasFailure()) FAIL() << "seed " << seed;
    commits += world.commits;
  }
  EXPECT_GT(commits, 500U) << "the seeds no longer publish";
}

INSTANTIATE_TEST_SUITE_P(Seeds, DirectorySimulation, testing::Range<uint64_t>(0, 30));

}  // namespace
}  // namespace sluice::replica
