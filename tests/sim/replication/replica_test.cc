// Replication among whole nodes, one story a test. What must hold at every moment is checked by the
// world (replica_world.h); a story says what happens, and when.
#include <gtest/gtest.h>

#include "replica_scenario.h"
#include "replica_world.h"

namespace sluice::sim {
namespace {

using namespace replica;

constexpr int64_t second_ns = 1'000'000'000;
// 256 pieces are 4 MiB: from there on copies are made in a chain (chain_bytes_min).
constexpr uint32_t chunk_bytes = 16'384;
// A piece passes a NIC in 164 us: as 2 MiB do at 100 Gb/s.
constexpr uint64_t nic_bytes_per_s = 100'000'000;

ReplicaWorldOptions quiet_world(uint32_t nodes) {
  ReplicaWorldOptions options;
  options.nodes = nodes;
  options.node.chunk_bytes = chunk_bytes;
  options.node.chunk_count = 400;
  options.node.hold_bytes_max = 350 * chunk_bytes;
  options.node.fetch_window = 16;
  options.node.fetches_max = 64;
  options.node.has_reader = false;
  options.bytes_per_s = nic_bytes_per_s;
  return options;
}

class ReplicaTest : public testing::Test {
 protected:
  void make(const ReplicaWorldOptions& options) {
    world = std::make_unique<ReplicaWorld>(options);
    world->run_for(2 * second_ns);  // the nodes meet
  }
  void TearDown() override {
    if (world && !world->failure().empty()) ADD_FAILURE() << world->failure() << world->describe();
  }
  bool run_until_published(uint32_t node, const std::string& path,
                           int64_t limit_ns = 60 * second_ns) {
    return world->run_until(
        [&] {
          const PublishState state = world->last_publication(node, path).state;
          return state == PublishState::published || state == PublishState::degraded;
        },
        limit_ns);
  }
  bool run_until_whole(uint32_t node, GenerationId generation, int64_t limit_ns = 60 * second_ns) {
    return world->run_until([&] { return world->missing(node, generation).empty(); }, limit_ns);
  }
  GenerationId generation_of(uint32_t node, const std::string& path) {
    return world->last_publication(node, path).generation;
  }
  // Pieces of the generation that lie in the node's arena.
  size_t pieces_at(uint32_t node, GenerationId generation) {
    const auto& all = world->node(node).pieces();
    const auto at = all.find(std::string(internal_name(generation).view()));
    return at == all.end() ? 0 : at->second.size();
  }
  void expect_peace() {
    const bool agreed =
        world->run_until([&] { return world->disagreement().empty(); }, 100 * second_ns);
    EXPECT_TRUE(agreed) << world->disagreement() << "\n" << world->describe();
    // What is superseded is kept while peers may read it.
    static_cast<void>(world->run_until([&] { return world->leaks().empty(); }, 50 * second_ns));
    EXPECT_EQ(world->leaks(), "");
  }

  std::unique_ptr<ReplicaWorld> world;
};

TEST_F(ReplicaTest, APublishedFileIsOnEveryNodeWithOneETag) {
  for (const bool registry : {false, true}) {
    ReplicaWorldOptions options = quiet_world(3);
    options.node.has_registry = registry;
    options.gentle = true;
    make(options);
    const ReplicaWorld::Version& version = world->put(0, "a", 100'000);
    world->publish(0, "a", 3);
    ASSERT_TRUE(run_until_published(0, "a")) << world->describe();
    EXPECT_EQ(world->last_publication(0, "a").copies_verified, 3);
    for (uint32_t node = 0; node < 3; ++node) {
      EXPECT_EQ(world->missing(node, generation_of(0, "a")), "");
      world->run_for(second_ns);
      const Reading reading = world->read(node, "a");
      EXPECT_TRUE(reading.complete);
      EXPECT_EQ(reading.info.etag, version.etag);
    }
    expect_peace();
  }
}

TEST_F(ReplicaTest, ANodeThatIsNoHolderTakesPiecesFromItsPeers) {
  make(quiet_world(3));
  const ReplicaWorld::Version& version = world->put(0, "a", 100'000);
  world->publish(0, "a", 2);
  ASSERT_TRUE(run_until_published(0, "a")) << world->describe();
  world->run_for(second_ns);
  for (uint32_t node = 0; node < 3; ++node) {
    const Reading reading = world->read(node, "a");
    EXPECT_TRUE(reading.complete) << node;
    EXPECT_EQ(reading.info.etag, version.etag);
  }
  expect_peace();
}

TEST_F(ReplicaTest, TheOldGenerationServesUntilTheNewOneIsCommitted) {
  for (const bool registry : {false, true}) {
    ReplicaWorldOptions options = quiet_world(2);
    options.node.has_registry = registry;
    make(options);
    const ReplicaWorld::Version& old = world->put(0, "a", 50'000);
    world->publish(0, "a", 2);
    ASSERT_TRUE(run_until_published(0, "a")) << world->describe();
    const ReplicaWorld::Version& fresh = world->put(0, "a", 1'000'000);
    world->publish(0, "a", 2);
    // 40 ms of copying.
    ASSERT_TRUE(
        world->run_until([&] { return pieces_at(1, generation_of(0, "a")) > 20; }, second_ns));
    for (uint32_t node = 0; node < 2; ++node) {
      EXPECT_EQ(world->read(node, "a").info.etag, old.etag);
    }
    EXPECT_NE(world->missing(1, generation_of(0, "a")), "");
    ASSERT_TRUE(run_until_published(0, "a"));
    world->run_for(second_ns);
    for (uint32_t node = 0; node < 2; ++node) {
      EXPECT_EQ(world->read(node, "a").info.etag, fresh.etag);
    }
    expect_peace();
  }
}

TEST_F(ReplicaTest, AtFirstPublicationClientsAreServedWhileItIsCopied) {
  make(quiet_world(2));
  const ReplicaWorld::Version& version = world->put(0, "a", 1'000'000);
  world->publish(0, "a", 2);
  ASSERT_TRUE(
      world->run_until([&] { return pieces_at(1, generation_of(0, "a")) > 20; }, 5 * second_ns));
  const Reading reading = world->read(1, "a");
  EXPECT_TRUE(reading.complete);
  EXPECT_EQ(reading.info.etag, version.etag);
  ASSERT_TRUE(run_until_published(0, "a"));
  expect_peace();
}

TEST_F(ReplicaTest, ALinkThatDiesInMidTransferCostsNoPieceThatIsThere) {
  make(quiet_world(2));
  const ReplicaWorld::Version& version = world->put(0, "a", 256 * chunk_bytes);
  world->mover().end_at_write(0, 1, 128);
  world->publish(0, "a", 2);
  ASSERT_TRUE(run_until_published(0, "a")) << world->describe();
  EXPECT_EQ(world->mover().faults_injected(), 1u);
  EXPECT_EQ(world->last_publication(0, "a").copies_verified, 2);
  // At most what was under way is sent again.
  EXPECT_LE(world->mover().bytes_landed(0, 1), version.bytes.size() + 16 * chunk_bytes);
  expect_peace();
}

TEST_F(ReplicaTest, APeerThatDiesInMidTransferIsReplacedAndTheTransferResumes) {
  make(quiet_world(3));
  const ReplicaWorld::Version& version = world->put(0, "a", 256 * chunk_bytes);
  world->publish(0, "a", 3);
  // The chain: 0, then one of the others, then the last.
  ASSERT_TRUE(world->run_until(
      [&] {
        return pieces_at(1, generation_of(0, "a")) > 100 &&
               pieces_at(2, generation_of(0, "a")) > 60;
      },
      5 * second_ns))
      << world->describe();
  const uint32_t middle =
      world->mover().bytes_landed(0, 1) > world->mover().bytes_landed(0, 2) ? 1 : 2;
  const uint32_t last = 3 - middle;
  const GenerationId generation = generation_of(0, "a");
  world->kill(middle, true);
  ASSERT_TRUE(run_until_whole(last, generation)) << world->describe();
  EXPECT_LE(world->mover().bytes_landed(0, last) + world->mover().bytes_landed(middle, last),
            version.bytes.size() + 16 * chunk_bytes);
  world->start(middle);
  expect_peace();
}

// A chain with cut-through: each node passes a piece on while it receives the next.
TEST_F(ReplicaTest, TheLastOfAChainIsDoneSoonAfterTheFirst) {
  const auto copy_ns = [this](uint32_t receivers) {
    ReplicaWorldOptions options = quiet_world(receivers + 1);
    options.gentle = true;
    make(options);
    (void)world->put(0, "a", 256 * chunk_bytes);
    world->publish(0, "a", static_cast<uint8_t>(receivers + 1));
    int64_t begun_ns = INT64_MAX, done_ns = 0;
    const bool done = world->run_until(
        [&] {
          const GenerationId generation = generation_of(0, "a");
          if (generation.is_none()) return false;
          if (begun_ns == INT64_MAX && world->mover().bytes_landed(Transport::rdma) > 0) {
            begun_ns = world->now_ns();
          }
          for (uint32_t node = 1; node <= receivers; ++node) {
            if (pieces_at(node, generation) < 256) return false;
          }
          done_ns = world->now_ns();
          return true;
        },
        10 * second_ns);
    EXPECT_TRUE(done) << world->describe();
    return done_ns - begun_ns;
  };
  const int64_t one_ns = copy_ns(1);
  RecordProperty("one_us", std::to_string(one_ns / 1000));
  // One copy is as fast as the NIC.
  EXPECT_LE(one_ns, 256 * int64_t{chunk_bytes} * second_ns / int64_t{nic_bytes_per_s} * 105 / 100);
  for (const uint32_t receivers : {2u, 3u, 7u}) {
    const int64_t all_ns = copy_ns(receivers);
    std::printf("%u receivers: %.3f of one copy's time\n", receivers,
                static_cast<double>(all_ns) / static_cast<double>(one_ns));
    EXPECT_LE(all_ns * 100, one_ns * 110) << receivers;
  }
}

TEST_F(ReplicaTest, TcpTakesOverAndGivesBack) {
  make(quiet_world(2));
  const ReplicaWorld::Version& version = world->put(0, "a", 256 * chunk_bytes);
  world->publish(0, "a", 2);
  ASSERT_TRUE(
      world->run_until([&] { return pieces_at(1, generation_of(0, "a")) > 100; }, 5 * second_ns));
  EXPECT_EQ(world->mover().bytes_landed(Transport::tcp), 0u);
  world->mover().set_rdma(1, false);
  ASSERT_TRUE(run_until_published(0, "a")) << world->describe();
  EXPECT_EQ(world->last_publication(0, "a").copies_verified, 2);
  EXPECT_GT(world->mover().bytes_landed(Transport::tcp), 100u * chunk_bytes);
  EXPECT_LE(world->mover().bytes_landed(0, 1), version.bytes.size() + 16 * chunk_bytes);

  world->mover().set_rdma(1, true);
  ASSERT_TRUE(world->run_until([&] { return world->mover().links_up(0, Transport::rdma) > 0; },
                               60 * second_ns));
  world->run_for(second_ns);
  const uint64_t over_tcp = world->mover().bytes_landed(Transport::tcp);
  (void)world->put(0, "b", 60 * chunk_bytes);
  world->publish(0, "b", 2);
  ASSERT_TRUE(run_until_published(0, "b")) << world->describe();
  EXPECT_EQ(world->mover().bytes_landed(Transport::tcp), over_tcp);
  expect_peace();
}

// Much longer than a superseded generation was once kept: a response that has it ends with it.
TEST_F(ReplicaTest, ASlowReaderEndsWithTheGenerationThatItBeganWith) {
  for (const bool registry : {false, true}) {
    ReplicaWorldOptions options = quiet_world(3);
    options.node.has_registry = registry;
    options.node.has_reader = true;
    options.node.paths = options.paths = {"a"};
    options.gentle = true;
    make(options);
    world->set_readers_idle(true);
    (void)world->put(0, "a", 40 * chunk_bytes);
    world->publish(0, "a", 2);
    ASSERT_TRUE(run_until_published(0, "a")) << world->describe();
    world->run_for(2 * second_ns);
    uint32_t outside = 1;
    while (world->missing(outside, generation_of(0, "a")).empty()) ++outside;
    // From now on a piece takes most of a second.
    for (uint32_t node = 0; node < 3; ++node) world->mover().set_rate(node, chunk_bytes * 5 / 4);
    const GenerationId old = generation_of(0, "a");
    const uint64_t complete = world->readings_complete();
    Reader& reader = world->node(outside).reader();
    reader.read_now("a");
    world->run_for(2 * second_ns);
    ASSERT_TRUE(reader.is_reading());
    (void)world->put(0, "a", chunk_bytes);
    world->publish(0, "a", 1);
    ASSERT_TRUE(run_until_published(0, "a"));
    ASSERT_TRUE(reader.is_reading());
    ASSERT_LT(pieces_at(outside, old), 10u);
    ASSERT_TRUE(world->run_until([&] { return !reader.is_reading(); }, 100 * second_ns));
    EXPECT_EQ(world->readings_complete(), complete + 1) << world->describe();
    for (uint32_t node = 0; node < 3; ++node) world->mover().set_rate(node, nic_bytes_per_s);
    world->run_for(50 * second_ns);
    expect_peace();
  }
}

TEST_F(ReplicaTest, ACopyThatIsLostIsDegradedAndRepaired) {
  for (const bool registry : {false, true}) {
    ReplicaWorldOptions options = quiet_world(2);
    options.node.has_registry = registry;
    make(options);
    (void)world->put(0, "a", 100'000);
    world->publish(0, "a", 2);
    ASSERT_TRUE(run_until_published(0, "a"));
    const auto is_degraded = [&] {
      const std::vector<ReplicaRow> rows = world->node(0).node().replicas();
      return rows.size() == 1 && rows[0].degraded && rows[0].copies_verified == 1;
    };
    EXPECT_FALSE(is_degraded());
    world->kill(1, true);
    ASSERT_TRUE(world->run_until(is_degraded, 30 * second_ns)) << world->describe();
    world->start(1);
    ASSERT_TRUE(world->run_until([&] { return !is_degraded(); }, 60 * second_ns))
        << world->describe();
    expect_peace();
  }
}

TEST_F(ReplicaTest, ANodeWithAnotherKeyGetsNothing) {
  ReplicaWorldOptions options = quiet_world(3);
  options.odd_node = 2;
  make(options);
  (void)world->put(0, "a", 100'000);
  world->publish(0, "a", 2);
  ASSERT_TRUE(run_until_published(0, "a", 120 * second_ns)) << world->describe();
  EXPECT_EQ(world->missing(1, generation_of(0, "a")), "");
  EXPECT_EQ(world->mover().bytes_landed(0, 2) + world->mover().bytes_landed(1, 2), 0u);
  EXPECT_TRUE(world->node(2).node().replicas().empty());
}

TEST_F(ReplicaTest, ABitThatRotsIsFoundAndMended) {
  make(quiet_world(2));
  (void)world->put(0, "a", 100'000);
  world->publish(0, "a", 2);
  ASSERT_TRUE(run_until_published(0, "a"));
  const GenerationId generation = generation_of(0, "a");
  world->rot(1);
  EXPECT_NE(world->missing(1, generation), "");
  EXPECT_TRUE(run_until_whole(1, generation)) << world->describe();
  expect_peace();
}

// Would the world notice? Nodes that check nothing, and a wire that spoils bytes.
TEST_F(ReplicaTest, TheWorldCatchesNodesThatDoNotVerify) {
  ReplicaWorldOptions options = quiet_world(2);
  options.node.digests.crc32c = [](Bytes) { return 7u; };
  options.mover.faults.write_corrupt_ppm = 1'000'000;
  make(options);
  (void)world->put(0, "a", 100'000);
  world->publish(0, "a", 2);
  EXPECT_FALSE(run_until_published(0, "a"));
  EXPECT_NE(world->failure(), "");
  world.reset();
}

TEST_F(ReplicaTest, ARunIsAFunctionOfItsSeed) {
  for (const uint64_t seed : {1u, 2u, 3u}) {
    const ReplicaResult first = run_replica_scenario(seed);
    const ReplicaResult again = run_replica_scenario(seed);
    EXPECT_EQ(first.trace, again.trace);
    EXPECT_EQ(first.virtual_ns, again.virtual_ns);
    EXPECT_EQ(first.failure, again.failure);
  }
}

}  // namespace
}  // namespace sluice::sim
