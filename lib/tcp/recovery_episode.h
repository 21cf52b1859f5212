// RecoveryEpisode: what loss recovery needs beside the scoreboard, and only while a recovery goes
// on or may still prove needless; and the pool of them.
//
// Read first: lib/tcp/loss_recovery.h. One pool a Stack, reserved at start (Config::recoveries).
// Who gets none recovers in plain: the flight is bounded by the window and the pipe (RFC 6675) and
// not metered (RFC 9937), and a needless recovery is not undone.
#pragma once

#include <cstdint>

#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "tcp/congestion_control.h"
#include "tcp/prr.h"
#include "tcp/sent_runs.h"
#include "tcp/undo.h"

namespace sluice::tcp {

struct RecoveryEpisode {
  Prr prr;
  Undo undo;
  CongestionControl::SavedWindow window;  // as it was before
};
static_assert(sizeof(RecoveryEpisode) <= 80);

/// What the senders of a Stack have in common.
struct RecoveryPools {
  struct Sizes {
    SentRunPool::Sizes runs;
    uint32_t episodes = 0;
  };
  explicit RecoveryPools(const Sizes& sizes)
      : runs(sizes.runs), episodes(sizes.episodes), episode_pool(sizes.episodes) {}

  [[nodiscard]] static uint64_t memory_bytes(const Sizes& sizes) {
    return (uint64_t{sizes.runs.senders} + sizes.runs.shared) * sizeof(SentRun) +
           sizes.episodes * (sizeof(RecoveryEpisode) + sizeof(uint32_t));
  }

  SentRunPool runs;
  FixedArray<RecoveryEpisode> episodes;
  IndexPool episode_pool;
};

}  // namespace sluice::tcp
