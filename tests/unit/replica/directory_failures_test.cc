// The Directory when nodes die, stall or restart, when copies rot, and when the registry is not
// there.
#include <gtest/gtest.h>

#include "directory_world.h"

namespace sluice::replica {
namespace {

TEST(Directory, AHolderThatDiesInMidTransferLeavesItDegraded) {
  Cluster world(2);
  world[1].holds_by_itself = false;
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.settle();
  world.crash(1);
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded);
  EXPECT_EQ(world.detail(0, ticket), "b is gone");
}

TEST(Directory, AStalledHolderCostsPatienceNotThePublication) {
  Cluster world(2);
  world[1].holds_by_itself = false;
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  const GenerationId id = world.directory(0).status(ticket).generation;
  world.advance(20_s);
  world.directory(0).handle_progress(world.now(), id);
  world.advance(20_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::copying) << "progress was made";
  world.advance(11_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded);
}

TEST(Directory, ADeadHolderIsReplacedAfterAWhile) {
  Cluster world(3);
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.settle();
  const GenerationId id = world.directory(0).status(ticket).generation;
  const size_t dead = world[1].has.contains(id) ? 1 : 2;
  const size_t other = 3 - dead;
  world.crash(dead);
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded);
  world.advance(9_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded) << "it may come back";
  world.advance(2_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::published);
  EXPECT_TRUE(world[other].has.contains(id));
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, ANodeThatLosesItsLinkForAMomentCountsAgain) {
  Cluster world(3);
  const uint32_t ticket = world.publish(0, "film", 7, 3);
  world.settle();
  world.disconnect(0, 1);
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded);
  world.advance(5_s);
  world.connect(0, 1);
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::published);
}

TEST(Directory, MarksOfAnEarlierEpochDoNotCount) {
  Cluster world(2);
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.settle();
  const GenerationId id = world.directory(0).status(ticket).generation;
  world.crash(1);
  world.start(1);
  world[1].holds_by_itself = false;
  world.connect_all();
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded) << "its memory is gone";
  EXPECT_EQ(world.row(1, id)->copies_verified, 1);
  world[1].holds_by_itself = true;
  world.settle();
  EXPECT_EQ(world.state(0, ticket), PublishState::published);
  world.check_agreement();
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, APublisherThatRestartsTakesItsCopyFromTheOthers) {
  Cluster world(3);
  const uint32_t ticket = world.publish(0, "film", 7, 3);
  world.settle();
  const GenerationId id = world.directory(0).status(ticket).generation;
  world.crash(0);
  world[0].disk.clear();
  world.start(0);
  world.connect_all();
  world.advance(1_s);
  EXPECT_TRUE(world[0].has.contains(id));
  EXPECT_EQ(world.directory(0).degraded(), 0U);
  EXPECT_EQ(world.current(0, "film"), id);
}

TEST(Directory, APublisherThatDiesInMidTransferLeavesTheOldGeneration) {
  Cluster world(3);
  const uint32_t first = world.publish(0, "film", 7, 3);
  world.settle();
  const GenerationId old = world.directory(0).status(first).generation;
  for (size_t i = 0; i < 3; ++i) world[i].holds_by_itself = false;
  (void)world.publish(0, "film", 8, 3);
  world.settle();
  world.crash(0);
  for (size_t i = 0; i < 3; ++i) world[i].holds_by_itself = true;
  world.advance(60_s);
  EXPECT_EQ(world.current(1, "film"), old);
  EXPECT_EQ(world.current(2, "film"), old);
  world.advance(700_s);
  EXPECT_EQ(world.directory(1).replicas().size(), 1U) << "in the end it is collected";
  world.check_agreement();
  EXPECT_EQ(world.fault(), "");
}

TEST(Directory, WhatIsVerifiedOutlivesThePublisher) {
  Cluster world(3);
  world[2].holds_by_itself = false;
  const uint32_t ticket = world.publish(0, "film", 7, 3);
  const GenerationId id = world.directory(0).status(ticket).generation;
  world.settle();
  world.crash(0);
  world[2].holds_by_itself = true;
  world.advance(1_s);
  EXPECT_EQ(world.current(1, "film"), id);
  const ReplicaRow* row = world.row(1, id);
  ASSERT_NE(row, nullptr);
  EXPECT_TRUE(row->current);
  EXPECT_TRUE(row->degraded);
  EXPECT_EQ(row->copies_verified, 2);
}

TEST(Directory, WithoutTheRegistryNothingIsCommittedNorReleased) {
  Cluster world(2);
  const uint32_t first = world.publish(0, "film", 7, 2);
  world.settle();
  const GenerationId old = world.directory(0).status(first).generation;
  world.directory(0).handle(world.now(), Availability{false});
  world[0].registry_hangs = true;
  const uint32_t second = world.publish(0, "film", 8, 2);
  world.advance(20_s);
  EXPECT_EQ(world.state(0, second), PublishState::copying);
  EXPECT_EQ(world.current(0, "film"), old);
  EXPECT_TRUE(world[0].has.contains(old));
  world.advance(20_s);
  EXPECT_EQ(world.state(0, second), PublishState::failed);
  EXPECT_EQ(world.detail(0, second), "the registry does not answer");
  world[0].registry_hangs = false;
  world.directory(0).handle(world.now(), Availability{true});
  world.advance(20_s);
  EXPECT_EQ(world.current(0, "film"), old) << "failed is failed";
  const uint32_t third = world.publish(0, "film", 8, 2);
  world.settle();
  EXPECT_EQ(world.state(0, third), PublishState::published);
}

TEST(Directory, ARegistryThatDoesNotAnswerIsAskedAgain) {
  Cluster world(2);
  world[0].registry_hangs = true;
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.advance(10_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::copying);
  world[0].registry_hangs = false;
  world.advance(1_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::published);
}

TEST(Directory, AfterTheFenceItsMarksArePutAgain) {
  Cluster world(1);
  const uint32_t ticket = world.publish(0, "film", 7, 1);
  world.settle();
  Directory& directory = world.directory(0);
  directory.handle(world.now(), Availability{false});
  directory.handle(world.now(), Fenced{});
  RegistryRequest request;
  EXPECT_FALSE(directory.poll_request(request));
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded);
  directory.handle(world.now(), Availability{true});
  ASSERT_TRUE(directory.poll_request(request));
  const auto& mark = std::get<Mark>(std::get<PutRecord>(request).record);
  EXPECT_TRUE(mark.held);
  EXPECT_EQ(mark.node, World::id_of(0));
  EXPECT_FALSE(directory.poll_request(request)) << "once";
}

TEST(Directory, AMarkThatTheRegistryLostIsPutAgain) {
  Cluster world(1);
  const uint32_t ticket = world.publish(0, "film", 7, 1);
  world.settle();
  const GenerationId id = world.directory(0).status(ticket).generation;
  world.directory(0).handle(world.now(), RecordGone{DropRecord::What::mark, id, World::id_of(0)});
  RegistryRequest request;
  ASSERT_TRUE(world.directory(0).poll_request(request));
  EXPECT_TRUE(std::get<Mark>(std::get<PutRecord>(request).record).held);
}

TEST(Directory, ARottenCopyThatCannotBeMendedIsNoCopy) {
  Cluster world(2);
  const uint32_t ticket = world.publish(0, "film", 7, 2);
  world.settle();
  const GenerationId id = world.directory(0).status(ticket).generation;
  world[1].has.erase(id);
  world[1].holds_by_itself = false;
  world.directory(1).handle_lost(world.now(), id);
  world.advance(1_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::degraded);
  EXPECT_EQ(world.detail(0, ticket), "b could not hold it");
  world[1].holds_by_itself = true;
  world.advance(15_s);
  EXPECT_EQ(world.state(0, ticket), PublishState::published) << "fetched again";
}

// The shapes of the ways, as told to Node.
TEST(Directory, WhenAnUpstreamDiesTheNextOneIsTold) {
  World world(4);
  for (size_t i = 0; i < 4; ++i) {
    world[i].room = 1U << 30;
    world.start(i);
    world[i].holds_by_itself = false;
  }
  world.connect_all();
  const uint32_t ticket = world.publish(0, "film", 7, 4, 8U << 20);
  world.settle();
  const auto holders = world.row(0, world.directory(0).status(ticket).generation)->holders;
  const auto index = [&](size_t k) { return holders[k].value - World::id_of(0).value; };
  world.crash(index(2));
  world.settle();
  EXPECT_EQ(world[index(3)].holds[0].upstreams, (std::vector<NodeId>{holders[1], holders[0]}));
}

}  // namespace
}  // namespace sluice::replica
