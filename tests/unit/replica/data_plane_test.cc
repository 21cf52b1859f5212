// The parts of a Node together: generations move from arena to arena, whatever happens on the way.
#include "plane_world.h"

namespace sluice::replica {
namespace {

using stats::Counter;

class DataPlaneTest : public PlaneWorld {};

TEST_F(DataPlaneTest, MovesAGenerationFromArenaToArena) {
  start(2);
  link_all();
  const auto bytes = bytes_of(1, 9 * host_options.chunk_bytes + 1'000);
  node(1).disk->files["a"] = bytes;
  const Manifest manifest = ingest(1, "a");
  ASSERT_EQ(manifest.pieces(), 10u);
  hold(1, manifest, {});
  ASSERT_TRUE(pass_until(5_s, [&] { return is_verified(1, manifest); }));
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(5_s, [&] { return is_verified(2, manifest); }));
  EXPECT_EQ(read(2, manifest.generation), bytes);
  EXPECT_EQ(node(2).disk->reads, 0u);
  EXPECT_EQ(node(2).count(Counter::replica_landed_rdma_bytes), bytes.size());
  EXPECT_EQ(node(1).count(Counter::replica_written_rdma_bytes), bytes.size());
  EXPECT_EQ(node(2).count(Counter::replica_fences), 10u);
}

}  // namespace
}  // namespace sluice::replica
