// Transfers: the rows of `sluicectl transfers`.
#include "replica/transfers.h"

#include <gtest/gtest.h>

namespace sluice::replica {
namespace {

constexpr Instant start = Instant::from_ns(1'000'000'000);

Transfers::Move move(uint64_t generation, uint64_t peer, uint32_t bytes, bool incoming = true) {
  return {.generation = {generation, {1}},
          .peer = {peer},
          .transport = Transport::rdma,
          .incoming = incoming,
          .bytes = bytes,
          .lag = 7_ms};
}

TEST(Transfers, ARowForEachGenerationPeerAndDirection) {
  Transfers transfers;
  transfers.note(start, move(1, 2, 100));
  transfers.note(start, move(1, 2, 50));
  transfers.note(start, move(1, 3, 10));
  transfers.note(start, move(1, 2, 1, false));
  transfers.note(start, move(2, 2, 5));
  const std::vector<TransferRow> rows = transfers.rows(start);
  ASSERT_EQ(rows.size(), 4u);
  uint64_t bytes = 0;
  for (const TransferRow& row : rows) bytes += row.bytes_done;
  EXPECT_EQ(bytes, 166u);
  const TransferRow& first = rows[0];
  EXPECT_EQ(first.lag_ms, 7u);
}

TEST(Transfers, TheRateIsThatOfTheLastHalfSecond) {
  Transfers transfers;
  for (int i = 0; i <= 10; ++i) transfers.note(start + 100_ms * i, move(1, 2, 1'000'000));
  const std::vector<TransferRow> rows = transfers.rows(start + 1_s);
  ASSERT_EQ(rows.size(), 1u);
  // 1 MB each 100 ms.
  EXPECT_NEAR(static_cast<double>(rows[0].bytes_per_s), 10e6, 2.1e6);
  EXPECT_EQ(rows[0].bytes_done, 11'000'000u);
}

TEST(Transfers, WhatStandsStillHasNoRateAndGoesInTheEnd) {
  Transfers transfers;
  for (int i = 0; i <= 10; ++i) transfers.note(start + 100_ms * i, move(1, 2, 1'000'000));
  ASSERT_EQ(transfers.rows(start + 3_s).size(), 1u);
  EXPECT_EQ(transfers.rows(start + 3_s)[0].bytes_per_s, 0u);
  EXPECT_TRUE(transfers.rows(start + 1_s + Transfers::shown_for + 1_ms).empty());
}

TEST(Transfers, TheOneThatWasIdleLongestMakesWay) {
  Transfers transfers;
  for (uint32_t i = 0; i < Transfers::rows_max; ++i) {
    transfers.note(start + 1_ms * i, move(100 + i, 2, 1));
  }
  transfers.note(start + 200_ms, move(100, 2, 1));  // the first is not idle any more
  transfers.note(start + 300_ms, move(999, 2, 1));
  const std::vector<TransferRow> rows = transfers.rows(start + 300_ms);
  ASSERT_EQ(rows.size(), Transfers::rows_max);
  const auto has = [&](uint64_t number) {
    for (const TransferRow& row : rows) {
      if (row.generation.number == number) return true;
    }
    return false;
  };
  EXPECT_TRUE(has(999));
  EXPECT_TRUE(has(100));
  EXPECT_FALSE(has(101));
}

}  // namespace
}  // namespace sluice::replica
