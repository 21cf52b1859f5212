#include "engine/lookups.h"

#include <gtest/gtest.h>

namespace sluice::engine {
namespace {

constexpr SipDigest key_a{1, 1}, key_b{1, 2};  // one bucket

struct LookupsTest : ::testing::Test {
  Lookups lookups{2, 4};
  content::Lookup message;
};

TEST_F(LookupsTest, OnePathIsAskedOnceHoweverManyWait) {
  ASSERT_TRUE(lookups.ask(key_a, "a", 0));
  ASSERT_TRUE(lookups.ask(key_a, "a", 1));
  ASSERT_TRUE(lookups.poll(message));
  EXPECT_EQ(message.path, "a");
  content::Lookup second;
  EXPECT_FALSE(lookups.poll(second));
  EXPECT_EQ(lookups.next_waiter(message.ticket), 0u);
  EXPECT_EQ(lookups.next_waiter(message.ticket), 1u);
  EXPECT_EQ(lookups.next_waiter(message.ticket), Lookups::none);
  lookups.finish(message.ticket);
  EXPECT_EQ(lookups.in_use(), 0u);
}

TEST_F(LookupsTest, PathsOfOneBucketAreKeptApart) {
  ASSERT_TRUE(lookups.ask(key_a, "a", 0));
  ASSERT_TRUE(lookups.ask(key_b, "b", 1));
  ASSERT_TRUE(lookups.poll(message));
  EXPECT_EQ(lookups.next_waiter(message.ticket), 0u);
  lookups.finish(message.ticket);
  ASSERT_TRUE(lookups.poll(message));
  EXPECT_EQ(lookups.answered(message.ticket).path, "b");
}

TEST_F(LookupsTest, FullOfTicketsRefusesAnotherPath) {
  ASSERT_TRUE(lookups.ask(key_a, "a", 0));
  ASSERT_TRUE(lookups.ask(key_b, "b", 1));
  EXPECT_FALSE(lookups.ask({3, 3}, "c", 2));
  EXPECT_FALSE(lookups.is_waiting(2));
}

TEST_F(LookupsTest, ATicketOutlivesThoseWhoWaited) {
  ASSERT_TRUE(lookups.ask(key_a, "a", 0));
  ASSERT_TRUE(lookups.poll(message));
  lookups.cancel(0);
  EXPECT_TRUE(lookups.is_open(message.ticket));
  EXPECT_EQ(lookups.answered(message.ticket).path, "a");
  EXPECT_EQ(lookups.next_waiter(message.ticket), Lookups::none);
  lookups.finish(message.ticket);
  EXPECT_FALSE(lookups.is_open(message.ticket));
}

TEST_F(LookupsTest, AnUnknownTicketIsNotOpen) {
  EXPECT_FALSE(lookups.is_open(99));
}

}  // namespace
}  // namespace sluice::engine
