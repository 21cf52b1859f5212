#include "tcp/reassembler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/prng.h"

namespace sluice::tcp {
namespace {

using Outcome = Reassembler::Outcome;

constexpr StreamOffset start{(uint64_t{1} << 32) - 5};  // the window spans the wrap

struct Receiver {
  explicit Receiver(size_t window) : buffer(window, std::byte{'.'}) { reassembler.reset(start); }

  Reassembler::Inserted insert(uint64_t offset, std::string_view text) {
    const uint64_t in_order = reassembler.next() - start;
    return reassembler.insert(start + offset, as_byte_span(text),
                              MutableBytes(buffer).subspan(in_order));
  }
  std::string readable() const {
    return std::string(as_text(Bytes(buffer).first(reassembler.next() - start)));
  }
  std::vector<std::pair<uint64_t, uint64_t>> sacks(size_t limit = 4, StreamRange duplicate = {}) {
    std::vector<std::pair<uint64_t, uint64_t>> blocks;
    for (const StreamRange& block : reassembler.sack_blocks(limit, duplicate)) {
      blocks.emplace_back(block.begin - start, block.end - start);
    }
    return blocks;
  }

  std::vector<std::byte> buffer;
  Reassembler reassembler;
};

using Blocks = std::vector<std::pair<uint64_t, uint64_t>>;

TEST(Reassembler, InOrderDataIsReadableAtOnce) {
  Receiver r(16);
  const auto result = r.insert(0, "hello");
  EXPECT_EQ(result.outcome, Outcome::in_order);
  EXPECT_EQ(result.newly_contiguous, 5u);
  EXPECT_TRUE(result.duplicate.empty());
  EXPECT_TRUE(r.reassembler.is_empty());
  EXPECT_EQ(r.readable(), "hello");
}

TEST(Reassembler, DataBehindAGapWaitsAndIsReportedUntilTheGapCloses) {
  Receiver r(16);
  EXPECT_EQ(r.insert(5, "world").outcome, Outcome::stored);
  EXPECT_EQ(r.sacks(), (Blocks{{5, 10}}));
  EXPECT_EQ(r.reassembler.span_bytes(), 10u);
  EXPECT_EQ(r.insert(0, "hello").newly_contiguous, 10u);
  EXPECT_EQ(r.readable(), "helloworld");
  EXPECT_TRUE(r.sacks().empty());
}

TEST(Reassembler, SackBlocksComeMostRecentFirst) {
  Receiver r(64);
  static_cast<void>(r.insert(10, "aa"));
  static_cast<void>(r.insert(20, "bb"));
  static_cast<void>(r.insert(30, "cc"));
  static_cast<void>(r.insert(12, "dd"));
  EXPECT_EQ(r.sacks(), (Blocks{{10, 14}, {30, 32}, {20, 22}}));
  EXPECT_EQ(r.sacks(2), (Blocks{{10, 14}, {30, 32}}));
  EXPECT_TRUE(r.sacks(0).empty());
}

TEST(Reassembler, OverlapsMergeIntoOneRange) {
  Receiver r(64);
  static_cast<void>(r.insert(10, "aaaa"));
  static_cast<void>(r.insert(20, "bbbb"));
  static_cast<void>(r.insert(12, "aaxxxxxxbb"));
  EXPECT_EQ(r.sacks(), (Blocks{{10, 24}}));
}

TEST(Reassembler, CutsWhatLiesOutsideTheWindow) {
  Receiver r(8);
  EXPECT_EQ(r.insert(8, "x").outcome, Outcome::outside_window);
  EXPECT_EQ(r.insert(6, "yyyy").outcome, Outcome::stored);
  EXPECT_EQ(r.sacks(), (Blocks{{6, 8}}));
  EXPECT_EQ(r.insert(0, "0123456789").newly_contiguous, 8u);
  EXPECT_EQ(r.insert(8, "z").outcome, Outcome::outside_window);
}

TEST(Reassembler, ReportsDuplicatesOfBothKinds) {
  Receiver r(32);
  static_cast<void>(r.insert(0, "abcd"));
  const auto old = r.insert(0, "abcd");
  EXPECT_EQ(old.outcome, Outcome::duplicate);
  EXPECT_EQ(old.duplicate, (StreamRange{start, start + 4}));

  static_cast<void>(r.insert(10, "klmn"));
  const auto again = r.insert(10, "kl");
  EXPECT_EQ(again.outcome, Outcome::duplicate);
  EXPECT_EQ(again.duplicate, (StreamRange{start + 10, start + 12}));
  EXPECT_EQ(r.sacks(3, again.duplicate), (Blocks{{10, 12}, {10, 14}}));
}

TEST(Reassembler, PartlyOldSegmentCountsItsNewPart) {
  Receiver r(32);
  static_cast<void>(r.insert(0, "abcd"));
  const auto result = r.insert(2, "cdef");
  EXPECT_EQ(result.outcome, Outcome::in_order);
  EXPECT_EQ(result.newly_contiguous, 2u);
  EXPECT_EQ(result.duplicate, (StreamRange{start + 2, start + 4}));
  EXPECT_EQ(r.readable(), "abcdef");
}

TEST(Reassembler, RefusesOneRangeTooManyButNeverInOrderData) {
  Receiver r(64);
  for (uint64_t i = 0; i < Reassembler::ranges_max; ++i) {
    EXPECT_EQ(r.insert(4 + 4 * i, "x").outcome, Outcome::stored);
  }
  EXPECT_EQ(r.insert(60, "y").outcome, Outcome::too_many_gaps);
  EXPECT_EQ(r.insert(0, "a").newly_contiguous, 1u);
  EXPECT_EQ(r.insert(1, "bcd").newly_contiguous, 4u);
  EXPECT_EQ(r.readable(), "abcdx");
}

TEST(Reassembler, EmptyDataChangesNothing) {
  Receiver r(8);
  EXPECT_EQ(r.insert(0, "").newly_contiguous, 0u);
  EXPECT_EQ(r.insert(3, "").newly_contiguous, 0u);
  EXPECT_TRUE(r.reassembler.is_empty());
}

TEST(Reassembler, DataAlreadyInPlaceIsNotMoved) {
  Receiver r(8);
  std::copy_n(as_byte_span("abc").begin(), 3, r.buffer.begin());
  const auto result = r.reassembler.insert(start, Bytes(r.buffer).first(3), r.buffer);
  EXPECT_EQ(result.newly_contiguous, 3u);
  EXPECT_EQ(r.readable(), "abc");
}

TEST(Reassembler, AnyOrderOfSegmentsYieldsTheStream) {
  constexpr size_t length = 200;
  std::string stream(length, ' ');
  for (size_t i = 0; i < length; ++i) stream[i] = static_cast<char>('!' + i % 90);
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Prng prng(seed);
    Receiver r(length);
    std::vector<bool> offered(length);
    for (int turn = 0; turn < 5000 && r.readable().size() < length; ++turn) {
      const uint64_t from = prng.below(length);
      const uint64_t count = 1 + prng.below(std::min<uint64_t>(40, length - from));
      const uint64_t before = r.readable().size();
      const auto result = r.insert(from, std::string_view(stream).substr(from, count));
      ASSERT_EQ(r.readable().size(), before + result.newly_contiguous);
      ASSERT_EQ(r.readable(), stream.substr(0, r.readable().size())) << "seed " << seed;
      if (result.outcome != Outcome::too_many_gaps) {
        std::fill_n(offered.begin() + static_cast<ptrdiff_t>(from), count, true);
      }
      const auto gap = std::find(offered.begin(), offered.end(), false) - offered.begin();
      ASSERT_EQ(r.readable().size(), static_cast<size_t>(gap)) << "seed " << seed;
      for (const auto& [begin, end] : r.sacks()) {
        ASSERT_GT(begin, r.readable().size());
        ASSERT_TRUE(std::all_of(offered.begin() + static_cast<ptrdiff_t>(begin),
                                offered.begin() + static_cast<ptrdiff_t>(end),
                                [](bool is) { return is; }));
      }
    }
    ASSERT_EQ(r.readable(), stream);
  }
}

}  // namespace
}  // namespace sluice::tcp
