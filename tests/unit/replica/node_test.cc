// Whole nodes, with their Directories: what is published on one is served by all.
#include "replica/node.h"

#include "plane_world.h"

namespace sluice::replica {
namespace {

class NodeTest : public BasicWorld<Node> {
 protected:
  PublishState publish(uint32_t number, const std::string& path, uint8_t copies) {
    Node& node_part = *node(number).plane;
    wall_ns += 1'000'000'000;
    const uint32_t ticket = node_part.publish(now, wall_ns, path, copies);
    (void)pass_until(60_s, [&] {
      const PublishState state = node_part.status(ticket).state;
      return state == PublishState::published || state == PublishState::failed;
    });
    return node_part.status(ticket).state;
  }
  int64_t wall_ns = 1'700'000'000'000'000'000;
};

TEST_F(NodeTest, PublishesToTwoAndServesTheSameBytes) {
  start(2);
  const auto bytes = bytes_of(1, 5 * host_options.chunk_bytes + 1);
  node(1).disk->files["dir/a"] = bytes;
  pass(1_s);
  ASSERT_EQ(publish(1, "dir/a", 2), PublishState::published);
  pass(1_s);
  EXPECT_EQ(read_path(1, "dir/a"), bytes);
  EXPECT_EQ(read_path(2, "dir/a"), bytes);
  EXPECT_EQ(node(2).disk->reads, 0u);
  const auto rows = node(2).plane->replicas();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].copies_verified, 2);
  EXPECT_TRUE(rows[0].current);
  ASSERT_EQ(node(2).plane->transfers().size(), 1u);
  EXPECT_EQ(node(2).plane->transfers()[0].bytes_done, bytes.size());
  EXPECT_TRUE(node(2).plane->peers()[0].rdma_up);
}

TEST_F(NodeTest, NewVersionReplacesTheOldOneEverywhere) {
  start(3);
  pass(1_s);
  node(1).disk->files["a"] = bytes_of(1, 3 * host_options.chunk_bytes);
  ASSERT_EQ(publish(1, "a", 3), PublishState::published);
  const auto bytes = bytes_of(2, 4 * host_options.chunk_bytes + 77);
  node(2).disk->files["a"] = bytes;
  ASSERT_EQ(publish(2, "a", 3), PublishState::published);
  pass(1_s);
  for (uint32_t number = 1; number <= 3; ++number) EXPECT_EQ(read_path(number, "a"), bytes);
}

}  // namespace
}  // namespace sluice::replica
