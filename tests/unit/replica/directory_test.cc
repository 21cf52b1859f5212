#include "replica/directory.h"

#include <gtest/gtest.h>

#include "directory_world.h"

namespace sluice::replica {
namespace {

TEST(Directory, PublishesToAsManyCopiesAsAsked) {
  Cluster world(3);
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  EXPECT_EQ(world.state(0, ticket), PublishState::copying);
  world.settle();
  const PublishStatus status = world.directory(0).status(ticket);
  EXPECT_EQ(status.state, PublishState::published);
  EXPECT_EQ(status.copies_verified, 2);
  EXPECT_EQ(status.detail, "");
  const ReplicaRow* row = world.row(2, status.generation);
  ASSERT_NE(row, nullptr);
  EXPECT_TRUE(row->current);
  EXPECT_FALSE(row->degraded);
  ASSERT_EQ(row->holders.size(), 2U);
  EXPECT_EQ(row->holders[0], World::id_of(0)) << "the publisher comes first";
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(world.current(i, "film"), status.generation);
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, NothingIsCurrentBeforeTheCopiesAreVerified) {
  Cluster world(2);
  world[1].holds_by_itself = false;
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.advance(20_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::copying);
  EXPECT_EQ(world.commits, 0U);
  EXPECT_EQ(world.directory(0).status(ticket).copies_verified, 1);
  EXPECT_EQ(world.detail(0, ticket), "b has not verified it yet");
  world[1].holds_by_itself = true;
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::published);
}

TEST(Directory, TheOldGenerationServesUntilTheNewOneIsCommitted) {
  Cluster world(2);
  const uint32_t first = world.publish(0, "film", 7, 2);
  world.settle();
  const GenerationId old = world.directory(0).status(first).generation;
  world[1].holds_by_itself = false;
  const uint32_t second = world.publish(0, "film", 8, 2);
  world.advance(20_s);
  EXPECT_EQ(world.current(0, "film"), old);
  EXPECT_EQ(world.current(1, "film"), old);
  EXPECT_TRUE(world[0].has.contains(old) && world[1].has.contains(old));
  world[1].holds_by_itself = true;
  world.settle();
  const GenerationId next = world.directory(0).status(second).generation;
  EXPECT_GT(next, old);
  EXPECT_EQ(world.current(0, "film"), next);
  EXPECT_EQ(world.current(1, "film"), next);
  EXPECT_TRUE(world[1].has.contains(old)) << "for responses that are under way";
  world.advance(30_s);
  EXPECT_FALSE(world[0].has.contains(old) || world[1].has.contains(old));
  EXPECT_EQ(world.row(0, old), nullptr) << "collected";
  EXPECT_EQ(world.row(1, old), nullptr);
  EXPECT_EQ(world.state(0, first), PublishState::published) << "it was";
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, ClientsMaySeeItEarlyOnlyWhereNothingElseIsCurrent) {
  Cluster world(2);
  world[1].holds_by_itself = false;
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.settle();
  EXPECT_EQ(world.current(1, "film"), world.directory(0).status(ticket).generation);
  world[1].holds_by_itself = true;
  world.settle();
  world[1].holds_by_itself = false;
  const uint32_t second = world.publish(0, "film", 8, 2);
  world.settle();
  EXPECT_NE(world.current(1, "film"), world.directory(0).status(second).generation);
}

TEST(Directory, AFileThatCannotBeReadFails) {
  Cluster world(2);
  const uint32_t ticket = world.publish(0, "absent", 0, 2);
  EXPECT_EQ(world.state(0, ticket), PublishState::failed);
  EXPECT_EQ(world.detail(0, ticket), "no such file");
}

TEST(Directory, ImpossibleCommandsFail) {
  Cluster world(1);
  for (const char* path : {"", "/film", "a/../b", "a//b"}) {
    EXPECT_EQ(world.state(0, world.publish(0, path, 1, 1)), PublishState::failed) << path;
  }
  EXPECT_EQ(world.state(0, world.publish(0, "film", 1, 0)), PublishState::failed);
  EXPECT_EQ(world.state(0, world.publish(0, "film", 1, 17)), PublishState::failed);
  EXPECT_EQ(world.state(0, world.directory(0).unpublish(world.now(), "film")),
            PublishState::failed);
  EXPECT_EQ(world.state(0, 4711), PublishState::failed);
}

TEST(Directory, TooFewNodesIsDegradedAndSaysSo) {
  Cluster world(2);
  const uint32_t ticket = world.publish(0, "film", 7, 3);
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded);
  EXPECT_EQ(world.directory(0).status(ticket).copies_verified, 2);
  EXPECT_EQ(world.detail(0, ticket), "no node with room for 1 more");
  EXPECT_EQ(world.directory(0).degraded(), 1U);
  EXPECT_EQ(world.directory(1).degraded(), 1U);
}

TEST(Directory, ANodeThatJoinsRepairsIt) {
  World world(3);
  world.start(0);
  world.start(1);
  world.connect_all();
  const uint32_t ticket = world.publish(0, "film", 7, 3);
  world.settle();
  EXPECT_EQ(world.directory(0).status(ticket).state, PublishState::degraded);
  world.start(2);
  world.connect_all();
  world.advance(1_s);
  EXPECT_EQ(world.directory(0).status(ticket).state, PublishState::published);
  EXPECT_EQ(world.directory(2).degraded(), 0U);
  EXPECT_EQ(world[2].has.size(), 1U);
  world.check_agreement();
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, NoRoomAtThePublisherFailsAndSaysHowMuch) {
  World world(2);
  world[0].room = 1500;
  world.start(0);
  world.start(1);
  world.connect_all();
  const uint32_t fits = world.publish(0, "one", 7, 1);
  world.settle();
  EXPECT_EQ(world.directory(0).status(fits).state, PublishState::published);
  const uint32_t ticket = world.publish(0, "two", 7, 1);
  world.settle();
  EXPECT_EQ(world.directory(0).status(ticket).state, PublishState::failed);
  EXPECT_EQ(world.directory(0).status(ticket).detail,
            "no room here: the file has 1000 bytes, 1000 of 1500 are taken");
}

TEST(Directory, NodesWithoutRoomAreNotChosen) {
  World world(3);
  world[1].room = 999;
  for (size_t i = 0; i < 3; ++i) world.start(i);
  world.connect_all();
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.settle();
  EXPECT_EQ(world.directory(0).status(ticket).state, PublishState::published);
  EXPECT_TRUE(world[1].has.empty());
}

TEST(Directory, AHolderThatCannotIsReplaced) {
  Cluster world(3);
  world[1].never_has_room = true;
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.advance(1_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::published);
  EXPECT_TRUE(world[2].has.contains(world.directory(0).status(ticket).generation));
  world.advance(60_s);
  world.check_agreement();
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, AHolderThatCannotAndNobodyElseIsDegraded) {
  Cluster world(2);
  world[1].never_has_room = true;
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded);
  EXPECT_EQ(world.detail(0, ticket), "b could not hold it");
  world[1].never_has_room = false;
  world.advance(11_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::published) << "it is asked again";
}

TEST(Directory, RoomThatBecomesFreeIsFoundByADegradedFile) {
  World world(2);
  world[1].room = 1500;
  for (size_t i = 0; i < 2; ++i) world.start(i);
  world.connect_all();
  const uint32_t first = world.publish(0, "one", 7, 2);
  world.settle();
  EXPECT_EQ(world.directory(0).status(first).state, PublishState::published);
  const uint32_t second = world.publish(0, "two", 8, 2);
  world.settle();
  EXPECT_EQ(world.directory(0).status(second).state, PublishState::degraded);
  static_cast<void>(world.directory(0).unpublish(world.now(), "one"));
  world.advance(60_s);
  EXPECT_EQ(world.directory(0).status(second).state, PublishState::published);
  world.check_agreement();
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, AFileThatChangesWhileItIsPublishedFails) {
  Cluster world(2);
  const uint32_t first = world.publish(0, "film", 7, 2);
  world.settle();
  const GenerationId old = world.directory(0).status(first).generation;
  const uint32_t ticket = world.publish(0, "film", 8, 2);
  world[0].disk["film"] = 9;
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::failed);
  EXPECT_NE(world.detail(0, ticket).find("has the file changed?"), std::string::npos)
      << world.detail(0, ticket);
  world.advance(60_s);
  EXPECT_EQ(world.current(1, "film"), old);
  EXPECT_TRUE(world[1].has.contains(old));
  world.check_agreement();
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, AFailedFirstPublicationLeadsBackToTheDisk) {
  Cluster world(2);
  const uint32_t ticket = world.publish(0, "film", 8, 2);
  world[0].disk["film"] = 9;
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::failed);
  EXPECT_TRUE(world[0].redirects.empty());
  EXPECT_TRUE(world[1].redirects.empty());
  EXPECT_TRUE(world[1].held_now.empty());
  EXPECT_TRUE(world.directory(1).replicas().empty());
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, ALateJoinerLearnsEverything) {
  World world(4);
  for (size_t i = 0; i < 3; ++i) world.start(i);
  world.connect_all();
  (void)world.publish(0, "film", 7, 2);
  (void)world.publish(1, "song", 8, 3);
  world.settle();
  world.crash(0);  // what it published is still told
  world.start(3);
  world.connect_all();
  world.advance(60_s);
  EXPECT_EQ(world.directory(3).replicas().size(), 2U);
  EXPECT_EQ(world.directory(3).degraded(), 0U);
  world.check_agreement();
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, ConcurrentPublicationsOfOnePathEndTheSameEverywhere) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Cluster world(3, seed);
    const uint32_t one = world.publish(0, "film", 7, 2);
    const uint32_t other = world.publish(1, "film", 8, 2);
    world.settle();
    world.advance(120_s);
    const GenerationId won = world.current(2, "film");
    EXPECT_EQ(won, std::max(world.directory(0).status(one).generation,
                            world.directory(1).status(other).generation));
    world.check_agreement();
    ASSERT_EQ(world.fault(), "") << "seed " << seed;
  }
}

TEST(Directory, AClockThatJumpsBackStillMakesANewerGeneration) {
  Cluster world(2);
  const uint32_t first = world.publish(0, "film", 7, 2);
  world.settle();
  world.wall_offset_ns = -3'600'000'000'000;
  const uint32_t second = world.publish(1, "film", 8, 2);
  world.settle();
  EXPECT_EQ(world.state(1, second), PublishState::published);
  EXPECT_GT(world.directory(1).status(second).generation,
            world.directory(0).status(first).generation);
  EXPECT_EQ(world.current(0, "film"), world.directory(1).status(second).generation);
}

TEST(Directory, UnpublishLeadsBackToTheDiskAndFreesTheCopies) {
  Cluster world(2);
  (void)world.publish(0, "film", 7, 2);
  world.settle();
  const uint32_t ticket = world.directory(1).unpublish(world.now(), "film");
  world.advance(1_s);
  EXPECT_EQ(world.state(1, ticket), PublishState::published);
  EXPECT_TRUE(world[0].redirects.empty() && world[1].redirects.empty());
  world.advance(60_s);
  EXPECT_TRUE(world[0].has.empty() && world[1].has.empty());
  EXPECT_TRUE(world.directory(0).replicas().empty());
  const uint32_t again = world.publish(0, "film", 7, 2);
  world.settle();
  EXPECT_EQ(world.state(0, again), PublishState::published);
  world.check_agreement();
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, LargeObjectsGoDownAChainSmallOnesFromThePublisher) {
  for (const bool large : {false, true}) {
    World world(4);
    for (size_t i = 0; i < 4; ++i) {
      world[i].room = 1U << 30;
      world.start(i);
      world[i].holds_by_itself = false;
    }
    world.connect_all();
    const uint32_t ticket = world.publish(0, "film", 7, 4, large ? 4U << 20 : (4U << 20) - 1);
    world.settle();
    const GenerationId id = world.directory(0).status(ticket).generation;
    const auto holders = world.row(0, id)->holders;
    ASSERT_EQ(holders.size(), 4U);
    for (size_t k = 0; k < 4; ++k) {
      const size_t member = holders[k].value - World::id_of(0).value;
      ASSERT_EQ(world[member].holds.size(), 1U);
      std::vector<NodeId> expected;
      if (large) {
        for (size_t up = k; up-- > 0;) expected.push_back(holders[up]);
      } else if (k > 0) {
        expected.push_back(holders[0]);
      }
      EXPECT_EQ(world[member].holds[0].upstreams, expected) << k;
    }
  }
}

TEST(Directory, ForeignAnswersAndAnswersTwiceChangeNothing) {
  Cluster world(2);
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.settle();
  Directory& directory = world.directory(0);
  const GenerationId id = directory.status(ticket).generation;
  directory.handle(world.now(), RegistryAnswer{999'999, RegistryOutcome::conflict});
  directory.handle_held(world.now(), id, HoldResult::no_room);
  directory.handle_held(world.now(), {1, {2}}, HoldResult::verified);
  directory.handle_lost(world.now(), {1, {2}});
  directory.handle_progress(world.now(), {1, {2}});
  directory.handle_ingested(world.now(), ticket, Manifest{});
  directory.handle_ingest_failed(world.now(), 77, "what?");
  EXPECT_EQ(world.state(0, ticket), PublishState::published);
}

TEST(Directory, TablesAreBounded) {
  DirectoryConfig config{.self = {1}, .epoch = 1, .hold_bytes_max = 1000};
  config.generations_max = 8;
  Directory directory(config);
  const Instant now;
  directory.handle(now, Availability{true});
  directory.handle(now, Synced{});
  for (uint64_t i = 1; i <= 100; ++i) {
    directory.handle(now, RecordSeen{Mark{{i, {9}}, {i}, 1, true}});
    directory.handle(now, RecordSeen{Mark{{1, {9}}, {i}, 1, true}});
    directory.handle(now, RecordSeen{Current{"p" + std::to_string(i), {i, {9}}, 0}});
    directory.handle(now, NodeSeen{.node = {i + 1}, .epoch = 1});
  }
  EXPECT_EQ(directory.nodes().size(), nodes_max);
  EXPECT_EQ(directory.status(directory.publish(now, 1, "more", 1)).state, PublishState::failed);
}

}  // namespace
}  // namespace sluice::replica
