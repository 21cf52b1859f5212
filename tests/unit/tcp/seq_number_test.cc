#include "tcp/seq_number.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

TEST(SeqNumber, ComparesAcrossTheWrap) {
  const SeqNumber before(0xffff'fff0);
  const SeqNumber after = before + 0x20;
  EXPECT_EQ(after.value(), 0x10u);
  EXPECT_LT(before, after);
  EXPECT_GT(after, before);
  EXPECT_LE(before, before);
  EXPECT_EQ(after - before, 0x20);
  EXPECT_EQ(before - after, -0x20);
}

TEST(StreamOffset, UnwrapsToTheNearestOffset) {
  const SeqNumber initial(0xffff'ff00);
  const StreamOffset far(5 * (uint64_t{1} << 32) + 17);
  EXPECT_EQ(unwrap(initial, wrap(initial, far), far), far);
  EXPECT_EQ(unwrap(initial, wrap(initial, far) + 1000, far), far + 1000);
  EXPECT_EQ(unwrap(initial, wrap(initial, far) - 1000, far), far - 1000);
}

TEST(StreamOffset, NumberBeforeTheBeginningIsFarOutside) {
  const SeqNumber initial(7);
  EXPECT_GT(unwrap(initial, initial - 1, StreamOffset(1)).value(), uint64_t{1} << 63);
}

}  // namespace
}  // namespace sluice::tcp
