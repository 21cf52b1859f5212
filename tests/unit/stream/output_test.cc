#include "stream/output.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace sluice::stream {
namespace {

struct WriteOutputTest : testing::Test {
  std::unique_ptr<WriteOutput> output = std::make_unique<WriteOutput>();
  std::vector<std::byte> payload = std::vector<std::byte>(1000, std::byte{1});

  void push(uint32_t write) {
    output->push(write, {.kind = Kind::write, .length_bytes = 1000}, payload);
  }
  std::vector<uint32_t> done() {
    std::vector<uint32_t> out;
    uint32_t write = 0;
    uint32_t bytes = 0;
    while (output->poll_done(write, bytes)) out.push_back(write);
    return out;
  }
};

TEST_F(WriteOutputTest, APayloadIsSentFromWhereItLies) {
  push(3);
  const Outgoing next = output->next();
  EXPECT_EQ(next.head.size(), header_bytes);
  EXPECT_EQ(next.body.data(), payload.data());
}

TEST_F(WriteOutputTest, PartsGoOnWhereTheLastEnded) {
  push(3);
  output->advance(10, false);
  EXPECT_EQ(output->next().head.size(), header_bytes - 10);
  EXPECT_EQ(output->next().body.size(), 1000u);
  output->advance(header_bytes - 10 + 1, false);
  EXPECT_TRUE(output->next().head.empty());
  EXPECT_EQ(output->next().body.data(), payload.data() + 1);
  EXPECT_EQ(done(), std::vector<uint32_t>{});
  output->advance(999, false);
  EXPECT_EQ(done(), std::vector<uint32_t>{3});
  EXPECT_FALSE(output->has_unsent());
}

TEST_F(WriteOutputTest, ByReferenceItIsDoneWhenTheKernelLetsGo) {
  push(1);
  push(2);
  output->advance(header_bytes + 500, true);
  output->advance(500, true);
  output->advance(header_bytes + 1000, false);
  EXPECT_EQ(done(), std::vector<uint32_t>{});  // in order, though the second was copied
  output->handle_notice(0, 0);
  EXPECT_EQ(done(), std::vector<uint32_t>{});
  EXPECT_TRUE(output->has_notices_outstanding());
  output->handle_notice(1, 1);
  EXPECT_EQ(done(), (std::vector<uint32_t>{1, 2}));
  EXPECT_FALSE(output->has_notices_outstanding());
}

TEST_F(WriteOutputTest, NoticesMayComeInAnyOrderAndTwice) {
  push(1);
  output->advance(header_bytes + 500, true);
  output->advance(250, true);
  output->advance(250, true);
  output->handle_notice(1, 2);
  output->handle_notice(1, 2);
  EXPECT_EQ(done(), std::vector<uint32_t>{});
  output->handle_notice(0, 0);
  EXPECT_EQ(done(), std::vector<uint32_t>{1});
  output->handle_notice(0, 2);    // old
  output->handle_notice(77, 99);  // never sent
  EXPECT_FALSE(output->has_notices_outstanding());
}

TEST_F(WriteOutputTest, NoticeNumbersWrap) {
  for (uint32_t i = 0; i < 3 * WriteOutput::notices_max; ++i) {
    push(i % 64);
    output->advance(header_bytes + 1000, true);
    output->handle_notice(i, i);
    EXPECT_EQ(done(), std::vector<uint32_t>{i % 64});
  }
  EXPECT_TRUE(output->may_zero_copy());
}

TEST_F(WriteOutputTest, MoreNoticesThanCanBeKeptAreNotAskedFor) {
  push(1);
  for (uint32_t i = 0; i < 1000; ++i) output->advance(1, true);
  push(2);
  for (uint32_t i = 0; i < 24; ++i) output->advance(1, true);
  EXPECT_FALSE(output->may_zero_copy());
  output->handle_notice(0, 0);
  EXPECT_TRUE(output->may_zero_copy());
}

TEST(FrameOutput, FramesLeaveInOrderAndInParts) {
  auto output = std::make_unique<FrameOutput>();
  replica::Frame frame{};
  frame[0] = std::byte{1};
  output->push(frame);
  frame[0] = std::byte{2};
  output->push(frame);
  EXPECT_EQ(output->next().size(), header_bytes + 256u);
  EXPECT_EQ(output->next().head[header_bytes], std::byte{1});
  EXPECT_EQ(output->advance(header_bytes + 255), 0u);
  EXPECT_EQ(output->next().size(), 1u);
  EXPECT_EQ(output->advance(1), 1u);
  EXPECT_EQ(output->next().head[header_bytes], std::byte{2});
}

}  // namespace
}  // namespace sluice::stream
