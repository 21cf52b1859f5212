// EtcdRegistry against a real etcd: leases that run out, watches that were compacted, restarts,
// SIGSTOP, commits that race. Times are etcd's and the wall's: each wait has a limit far above what
// it takes.
#include "cluster/etcd_registry.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <thread>

#include "cluster/etcd_messages.h"
#include "digest/digest.h"
#include "etcd_process.h"
#include "forwarder.h"
#include "replica/directory.h"

namespace sluice::cluster {
namespace {

using namespace replica;
using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

Manifest manifest_of(GenerationId generation, const std::string& path) {
  Manifest manifest{
      .generation = generation, .path = path, .size_bytes = 5000, .piece_bytes = 4096};
  manifest.piece_crcs = {1, 2};
  manifest.digest = digest_of(manifest, digest::digests());
  return manifest;
}

/// One node's registry, and all that it ever told.
class Member {
 public:
  Member(const EtcdProcess& etcd, uint64_t id, NodeEpoch epoch = 1,
         std::vector<std::string> endpoints = {})
      : id_{id}, epoch_(epoch) {
    if (endpoints.empty()) endpoints = {etcd.endpoint()};
    auto made = EtcdRegistry::create({.endpoints = std::move(endpoints),
                                      .cluster = "test",
                                      .self = {.node = id_,
                                               .epoch = epoch,
                                               .name = "n" + std::to_string(id),
                                               .address = "127.0.0.1:1",
                                               .hold_bytes_max = 1'000'000},
                                      .digests = digest::digests(),
                                      .lease = 3_s,
                                      .request_deadline = 1_s});
    if (!made) std::abort();
    registry_ = std::move(*made);
  }

  /// Until `condition`, or 30 s have passed. Waits on the wake descriptor, as the replica's thread.
  bool until(const std::function<bool()>& condition, seconds limit = seconds(30)) {
    const auto end = Clock::now() + limit;
    while (true) {
      drain();
      if (condition()) return true;
      if (Clock::now() >= end) return false;
      pollfd ready{registry_->wake_fd(), POLLIN, 0};
      (void)::poll(&ready, 1, 100);
    }
  }
  bool is_synced() {
    return until([&] { return synced && available; });
  }

  RegistryOutcome ask(RegistryRequest request) {
    const uint32_t number = submit(std::move(request));
    if (!until([&] { return answers.contains(number); })) ADD_FAILURE() << "no answer";
    return answers[number];
  }
  uint32_t submit(RegistryRequest request) {
    const uint32_t number = ++last_request_;
    std::visit([&](auto& one) { one.request = number; }, request);
    registry_->submit(std::move(request));
    return number;
  }
  RegistryOutcome put(Record record) { return ask(PutRecord{0, std::move(record)}); }
  RegistryOutcome mark(GenerationId generation, bool held = true) {
    return put(Mark{generation, id_, epoch_, held});
  }
  [[nodiscard]] Mark mark_of(GenerationId generation) const {
    return {generation, id_, epoch_, true};
  }
  [[nodiscard]] uint64_t count(stats::Counter counter) const {
    return registry_->counters().get(counter);
  }
  EtcdRegistry& registry() { return *registry_; }
  void drain() {
    RegistryEvent event;
    while (registry_->poll(event)) std::visit([&](const auto& one) { take(one); }, event);
  }

  std::map<uint32_t, RegistryOutcome> answers;
  std::map<NodeId, NodeEpoch> nodes;
  std::map<std::pair<GenerationId, NodeId>, Mark> marks;
  std::map<GenerationId, Manifest> manifests;
  std::map<GenerationId, Assignment> assignments;
  std::map<std::string, Current> currents;
  bool synced = false;
  bool available = false;
  int fences = 0;

 private:
  void take(const RegistryAnswer& answer) {
    EXPECT_TRUE(answers.emplace(answer.request, answer.outcome).second) << "answered twice";
  }
  void take(const NodeSeen& node) { nodes[node.node] = node.epoch; }
  void take(const NodeGone& node) { nodes.erase(node.node); }
  void take(const RecordSeen& seen) {
    if (const auto* manifest = std::get_if<Manifest>(&seen.record)) {
      manifests[manifest->generation] = *manifest;
    } else if (const auto* assignment = std::get_if<Assignment>(&seen.record)) {
      assignments[assignment->generation] = *assignment;
    } else if (const auto* mark = std::get_if<Mark>(&seen.record)) {
      marks[{mark->generation, mark->node}] = *mark;
    } else {
      const auto& current = std::get<Current>(seen.record);
      currents[current.path] = current;
    }
  }
  void take(const RecordGone& gone) {
    if (gone.what == DropRecord::What::mark) {
      marks.erase({gone.generation, gone.node});
    } else {
      manifests.erase(gone.generation);
      assignments.erase(gone.generation);
    }
  }
  void take(const Synced&) { synced = true; }
  void take(const Availability& is) { available = is.available; }
  void take(const Fenced&) { ++fences; }

  NodeId id_;
  NodeEpoch epoch_;
  uint32_t last_request_ = 0;
  std::unique_ptr<EtcdRegistry> registry_;
};

class EtcdRegistryTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!EtcdProcess::is_installed()) GTEST_SKIP() << "etcd is not installed (etcd-server)";
    ASSERT_TRUE(etcd.start()) << etcd.log();
  }
  EtcdProcess etcd;
  const GenerationId first{100, {1}};
  const GenerationId second{200, {2}};
};

TEST_F(EtcdRegistryTest, TwoNodesSeeEachOtherAndWhatEachPuts) {
  Member a(etcd, 1);
  Member b(etcd, 2);
  ASSERT_TRUE(a.is_synced() && b.is_synced());
  ASSERT_TRUE(a.until([&] { return a.nodes.contains({2}); }));
  ASSERT_TRUE(b.until([&] { return b.nodes.contains({1}); }));
  EXPECT_EQ(a.put(manifest_of(first, "film")), RegistryOutcome::done);
  Assignment assignment{.generation = first, .revision = 1, .copies = 2};
  ASSERT_TRUE(assignment.holders.push_back({1}) && assignment.holders.push_back({2}));
  EXPECT_EQ(a.put(assignment), RegistryOutcome::done);
  EXPECT_EQ(a.mark(first), RegistryOutcome::done);
  EXPECT_EQ(b.mark(first), RegistryOutcome::done);
  EXPECT_EQ(
      a.ask(Commit{
          .path = "film", .generation = first, .marks = {a.mark_of(first), b.mark_of(first)}}),
      RegistryOutcome::done);
  ASSERT_TRUE(b.until([&] { return b.currents["film"].generation == first; }));
  EXPECT_EQ(b.manifests[first].path, "film");
  EXPECT_EQ(b.manifests[first].piece_crcs, (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(b.assignments[first].holders.size(), 2U);

  Member late(etcd, 3);
  ASSERT_TRUE(late.is_synced());
  EXPECT_EQ(late.currents["film"].generation, first) << "told before Synced";
  EXPECT_EQ(late.marks.size(), 2U);
  EXPECT_EQ(late.nodes.size(), 3U);
}

TEST_F(EtcdRegistryTest, ACommitNeedsEveryMarkAsItWas) {
  Member a(etcd, 1);
  Member b(etcd, 2, 5);
  ASSERT_TRUE(a.is_synced() && b.is_synced());
  const auto commit = [&](std::vector<Mark> marks) {
    return a.ask(Commit{.path = "film", .generation = first, .marks = std::move(marks)});
  };
  EXPECT_EQ(commit({a.mark_of(first)}), RegistryOutcome::conflict) << "no mark";
  EXPECT_EQ(a.mark(first), RegistryOutcome::done);
  EXPECT_EQ(b.mark(first, false), RegistryOutcome::done);
  EXPECT_EQ(commit({a.mark_of(first), b.mark_of(first)}), RegistryOutcome::conflict) << "withdrawn";
  EXPECT_EQ(b.mark(first), RegistryOutcome::done);
  Mark earlier = b.mark_of(first);
  earlier.epoch = 4;
  EXPECT_EQ(commit({a.mark_of(first), earlier}), RegistryOutcome::conflict) << "another epoch";
  EXPECT_EQ(b.ask(DropRecord{.generation = first}), RegistryOutcome::done);
  EXPECT_EQ(commit({a.mark_of(first), b.mark_of(first)}), RegistryOutcome::conflict) << "dropped";
  EXPECT_EQ(b.mark(first), RegistryOutcome::done);
  EXPECT_EQ(commit({a.mark_of(first), b.mark_of(first)}), RegistryOutcome::done);
}

TEST_F(EtcdRegistryTest, OfTwoCommitsThatRaceExactlyOneWins) {
  Member a(etcd, 1);
  Member b(etcd, 2);
  ASSERT_TRUE(a.is_synced() && b.is_synced());
  ASSERT_EQ(a.mark(first), RegistryOutcome::done);
  ASSERT_EQ(b.mark(second), RegistryOutcome::done);
  for (int round = 0; round < 50; ++round) {
    const std::string path = "p" + std::to_string(round);
    const uint32_t one =
        a.submit(Commit{.path = path, .generation = first, .marks = {a.mark_of(first)}});
    const uint32_t other =
        b.submit(Commit{.path = path, .generation = second, .marks = {b.mark_of(second)}});
    ASSERT_TRUE(a.until([&] { return a.answers.contains(one); }));
    ASSERT_TRUE(b.until([&] { return b.answers.contains(other); }));
    const bool a_won = a.answers[one] == RegistryOutcome::done;
    const bool b_won = b.answers[other] == RegistryOutcome::done;
    ASSERT_NE(a_won, b_won) << "round " << round;
    const GenerationId won = a_won ? first : second;
    for (Member* member : {&a, &b}) {
      ASSERT_TRUE(member->until([&] { return member->currents[path].generation == won; }));
    }
  }
}

TEST_F(EtcdRegistryTest, ThePointerMovesOnlyFromWhatWasExpected) {
  Member a(etcd, 1);
  ASSERT_TRUE(a.is_synced());
  ASSERT_EQ(a.mark(first), RegistryOutcome::done);
  ASSERT_EQ(a.mark(second), RegistryOutcome::done);
  ASSERT_EQ(a.ask(Commit{.path = "film", .generation = first, .marks = {a.mark_of(first)}}),
            RegistryOutcome::done);
  ASSERT_TRUE(a.until([&] { return a.currents["film"].generation == first; }));
  EXPECT_EQ(a.ask(Commit{.path = "film", .generation = second, .marks = {a.mark_of(second)}}),
            RegistryOutcome::conflict);
  EXPECT_EQ(
      a.ask(Commit{
          .path = "film", .generation = second, .expected = first, .marks = {a.mark_of(second)}}),
      RegistryOutcome::done);
  ASSERT_TRUE(a.until([&] { return a.currents["film"].generation == second; }));
  EXPECT_EQ(a.currents["film"].supersedes, first.number);
  EXPECT_EQ(a.ask(Commit{.path = "film", .generation = {}, .expected = second}),
            RegistryOutcome::done)
      << "unpublished";
  ASSERT_TRUE(a.until([&] { return a.currents["film"].generation.is_none(); }));
  EXPECT_EQ(a.currents["film"].supersedes, second.number);
}

TEST_F(EtcdRegistryTest, AssignmentsOnlyGrow) {
  Member a(etcd, 1);
  ASSERT_TRUE(a.is_synced());
  Assignment assignment{.generation = first, .revision = 2, .copies = 1};
  ASSERT_TRUE(assignment.holders.push_back({1}));
  EXPECT_EQ(a.put(assignment), RegistryOutcome::done);
  ASSERT_TRUE(a.until([&] { return a.assignments.contains(first); }));
  EXPECT_EQ(a.put(assignment), RegistryOutcome::done) << "the same again";
  assignment.revision = 1;
  EXPECT_EQ(a.put(assignment), RegistryOutcome::conflict);
  assignment.revision = 3;
  EXPECT_EQ(a.put(assignment), RegistryOutcome::done);
}

TEST_F(EtcdRegistryTest, WhatIsCurrentCannotBeDroppedOtherGenerationsCan) {
  Member a(etcd, 1);
  ASSERT_TRUE(a.is_synced());
  for (const GenerationId id : {first, second}) {
    ASSERT_EQ(a.put(manifest_of(id, "film")), RegistryOutcome::done);
    ASSERT_EQ(a.mark(id), RegistryOutcome::done);
  }
  ASSERT_EQ(a.ask(Commit{.path = "film", .generation = second, .marks = {a.mark_of(second)}}),
            RegistryOutcome::done);
  ASSERT_TRUE(a.until([&] { return a.currents["film"].generation == second; }));
  const auto drop = [&](GenerationId id) {
    return a.ask(DropRecord{.what = DropRecord::What::generation, .generation = id});
  };
  EXPECT_EQ(drop(second), RegistryOutcome::conflict);
  EXPECT_EQ(drop(first), RegistryOutcome::done);
  ASSERT_TRUE(a.until([&] { return !a.manifests.contains(first) && a.marks.size() == 1; }));
  EXPECT_TRUE(a.manifests.contains(second));
}

TEST_F(EtcdRegistryTest, AnotherNodesMarkOrAPointerCannotBePut) {
  Member a(etcd, 1);
  ASSERT_TRUE(a.is_synced());
  EXPECT_EQ(a.put(Mark{first, {2}, 1, true}), RegistryOutcome::refused);
  EXPECT_EQ(a.put(Current{"film", first, 0}), RegistryOutcome::refused);
}

TEST_F(EtcdRegistryTest, ANodeThatEndsIsGoneAtOnce) {
  Member a(etcd, 1);
  auto b = std::make_unique<Member>(etcd, 2);
  ASSERT_TRUE(a.is_synced() && b->is_synced());
  ASSERT_EQ(b->mark(first), RegistryOutcome::done);
  ASSERT_TRUE(a.until([&] { return a.marks.size() == 1 && a.nodes.size() == 2; }));
  b.reset();
  EXPECT_TRUE(a.until([&] { return a.nodes.size() == 1 && a.marks.empty(); }, seconds(2)));
}

// The lease of one whose process stands still, or is dead: here of one that etcd cannot hear.
TEST_F(EtcdRegistryTest, ALeaseThatRunsOutTakesNodeAndMarksAway) {
  Member a(etcd, 1);
  Member b(etcd, 2);
  ASSERT_TRUE(a.is_synced() && b.is_synced());
  ASSERT_EQ(b.mark(first), RegistryOutcome::done);
  ASSERT_TRUE(a.until([&] { return a.marks.size() == 1 && a.nodes.size() == 2; }));
  // As if it had run out: an operator revokes it.
  const std::string leases = etcd.control("lease list");
  const std::string key = etcd.control("get " + Keys("test").node({2}) + " -w json");
  const auto at = key.find("\"lease\":");
  ASSERT_NE(at, std::string::npos) << key;
  char hex[32];
  std::snprintf(hex, sizeof hex, "%llx", std::strtoull(key.c_str() + at + 8, nullptr, 10));
  (void)etcd.control("lease revoke " + std::string(hex));
  EXPECT_TRUE(a.until([&] { return a.marks.empty(); })) << leases;
  EXPECT_TRUE(b.until([&] { return b.fences == 1; })) << "it notices at its next keepalive";
  EXPECT_TRUE(b.until([&] { return b.available; }));
  EXPECT_TRUE(a.until([&] { return a.nodes.contains({2}); })) << "under a new lease";
  EXPECT_EQ(b.mark(first), RegistryOutcome::done);
  EXPECT_TRUE(a.until([&] { return a.marks.size() == 1; }));
}

TEST_F(EtcdRegistryTest, AnEtcdThatStandsStillIsAnAnswerAndThenAFence) {
  Member a(etcd, 1);
  ASSERT_TRUE(a.is_synced());
  ASSERT_EQ(a.mark(first), RegistryOutcome::done);
  etcd.stop();
  const auto asked = Clock::now();
  EXPECT_EQ(a.put(manifest_of(first, "film")), RegistryOutcome::unavailable);
  EXPECT_LT(Clock::now() - asked, seconds(3)) << "the deadline is 1 s";
  EXPECT_TRUE(a.until([&] { return !a.available; }));
  EXPECT_TRUE(a.until([&] { return a.fences == 1; }, seconds(6)));
  EXPECT_EQ(a.put(manifest_of(first, "film")), RegistryOutcome::unavailable);
  etcd.resume();
  EXPECT_TRUE(a.until([&] { return a.available; }));
  EXPECT_EQ(a.mark(first), RegistryOutcome::done);
  EXPECT_EQ(a.put(manifest_of(first, "film")), RegistryOutcome::done);
  // The first put may have been carried out, late: a manifest is what it is.
  EXPECT_TRUE(a.until([&] { return a.manifests.contains(first) && a.marks.size() == 1; }));
  std::this_thread::sleep_for(seconds(4));
  a.drain();
  EXPECT_EQ(a.marks.size(), 1U) << "the old lease's end takes nothing of the new one";
  EXPECT_EQ(a.nodes.size(), 1U);
  EXPECT_EQ(a.fences, 1);
}

TEST_F(EtcdRegistryTest, ARestartLosesNothing) {
  Member a(etcd, 1);
  Member b(etcd, 2);
  ASSERT_TRUE(a.is_synced() && b.is_synced());
  ASSERT_EQ(a.put(manifest_of(first, "film")), RegistryOutcome::done);
  ASSERT_EQ(a.mark(first), RegistryOutcome::done);
  ASSERT_EQ(a.ask(Commit{.path = "film", .generation = first, .marks = {a.mark_of(first)}}),
            RegistryOutcome::done);
  etcd.kill();
  EXPECT_TRUE(a.until([&] { return !a.available; }));
  EXPECT_TRUE(b.until([&] { return !b.available; }));
  EXPECT_EQ(a.put(manifest_of(second, "song")), RegistryOutcome::unavailable);
  ASSERT_TRUE(etcd.start()) << etcd.log();
  ASSERT_TRUE(a.until([&] { return a.available; }));
  ASSERT_TRUE(b.until([&] { return b.available; }));
  EXPECT_TRUE(b.until([&] { return b.currents["film"].generation == first; }));
  EXPECT_EQ(a.put(manifest_of(second, "song")), RegistryOutcome::done);
  EXPECT_TRUE(b.until([&] { return b.manifests.contains(second); })) << "the watch goes on";
}

TEST_F(EtcdRegistryTest, ACutWatchGoesOnWhereItWas) {
  Forwarder way(etcd.port());
  Member a(etcd, 1);
  Member b(etcd, 2, 1, {way.endpoint()});
  ASSERT_TRUE(a.is_synced() && b.is_synced());
  way.cut();
  ASSERT_TRUE(b.until([&] { return !b.available; }));
  ASSERT_EQ(a.put(manifest_of(first, "film")), RegistryOutcome::done);
  ASSERT_EQ(a.put(manifest_of(second, "song")), RegistryOutcome::done);
  ASSERT_EQ(a.ask(DropRecord{.what = DropRecord::What::generation, .generation = first}),
            RegistryOutcome::done);
  way.mend();
  // Both were put, then the first was dropped: three events, in one message or in several.
  EXPECT_TRUE(
      b.until([&] { return b.manifests.contains(second) && !b.manifests.contains(first); }));
  EXPECT_EQ(b.count(stats::Counter::cluster_reads_of_all), 1U) << "only at its start";
}

TEST_F(EtcdRegistryTest, AWatchThatWasCompactedReadsEverythingAgain) {
  Forwarder way(etcd.port());
  Member a(etcd, 1);
  Member b(etcd, 2, 1, {way.endpoint()});
  ASSERT_TRUE(a.is_synced() && b.is_synced());
  ASSERT_EQ(a.put(manifest_of(first, "film")), RegistryOutcome::done);
  ASSERT_TRUE(b.until([&] { return b.manifests.contains(first); }));
  way.cut();
  ASSERT_TRUE(b.until([&] { return !b.available; }));
  ASSERT_EQ(a.ask(DropRecord{.what = DropRecord::What::generation, .generation = first}),
            RegistryOutcome::done);
  ASSERT_EQ(a.put(manifest_of(second, "song")), RegistryOutcome::done);
  const std::string status = etcd.control("endpoint status -w json");
  const auto at = status.find("\"revision\":");
  ASSERT_NE(at, std::string::npos) << status;
  const auto revision = std::strtoll(status.c_str() + at + 11, nullptr, 10);
  const std::string said = etcd.control("compact " + std::to_string(revision));
  ASSERT_NE(said.find("compacted revision"), std::string::npos) << said;
  way.mend();
  EXPECT_TRUE(b.until([&] { return b.manifests.contains(second); }));
  EXPECT_FALSE(b.manifests.contains(first)) << "what went in between is told as gone";
  EXPECT_EQ(b.count(stats::Counter::cluster_reads_of_all), 2U);
  ASSERT_TRUE(b.until([&] { return b.available; }));
  const GenerationId third{300, {1}};
  EXPECT_EQ(a.put(manifest_of(third, "more")), RegistryOutcome::done);
  EXPECT_TRUE(b.until([&] { return b.manifests.contains(third); })) << "and watches on";
}

// Cut off from etcd, while the others are not: they see it go, and it knows that before they do.
TEST_F(EtcdRegistryTest, WhoIsCutOffFencesItselfBeforeTheOthersSeeItGone) {
  Forwarder way(etcd.port());
  Member a(etcd, 1);
  Member b(etcd, 2, 1, {way.endpoint()});
  ASSERT_TRUE(a.is_synced() && b.is_synced());
  ASSERT_EQ(b.mark(first), RegistryOutcome::done);
  ASSERT_TRUE(a.until([&] { return a.marks.size() == 1; }));
  way.cut();
  Clock::time_point fenced;
  Clock::time_point gone;
  ASSERT_TRUE(a.until([&] {
    b.drain();
    if (b.fences > 0 && fenced == Clock::time_point()) fenced = Clock::now();
    if (!a.nodes.contains({2}) && gone == Clock::time_point()) gone = Clock::now();
    return fenced != Clock::time_point() && gone != Clock::time_point();
  }));
  EXPECT_LT(fenced, gone);
  EXPECT_TRUE(a.marks.empty());
  way.mend();
  ASSERT_TRUE(b.until([&] { return b.available; }));
  EXPECT_EQ(b.mark(first), RegistryOutcome::done);
  EXPECT_TRUE(a.until([&] { return a.marks.size() == 1 && a.nodes.size() == 2; }));
}

TEST_F(EtcdRegistryTest, AnotherEtcdInItsPlaceIsNoticed) {
  Member a(etcd, 1);
  ASSERT_TRUE(a.is_synced());
  for (uint64_t i = 1; i < 20; ++i) {
    ASSERT_EQ(a.put(manifest_of({i, {1}}, "film" + std::to_string(i))), RegistryOutcome::done);
  }
  ASSERT_TRUE(a.until([&] { return a.manifests.size() == 19; }));
  etcd.kill();
  etcd.forget();
  ASSERT_TRUE(etcd.start()) << etcd.log();
  ASSERT_TRUE(a.until([&] { return a.manifests.empty(); })) << "what is gone is told";
  ASSERT_TRUE(a.until([&] { return a.available; }));
  EXPECT_EQ(a.put(manifest_of(first, "film")), RegistryOutcome::done);
  EXPECT_TRUE(a.until([&] { return a.manifests.contains(first); }));
}

TEST_F(EtcdRegistryTest, GoneForGoodIsUnavailableForEver) {
  Member a(etcd, 1);
  ASSERT_TRUE(a.is_synced());
  etcd.kill();
  EXPECT_TRUE(a.until([&] { return a.fences == 1 && !a.available; }, seconds(6)));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(a.mark(first), RegistryOutcome::unavailable);
  EXPECT_EQ(a.fences, 1) << "once";
}

TEST(EtcdRegistry, NothingThereAtAllIsUnavailableAndEndsQuickly) {
  EtcdProcess never_started;
  Member a(never_started, 1);
  EXPECT_EQ(a.mark({1, {1}}), RegistryOutcome::unavailable);
  EXPECT_FALSE(a.available);
  EXPECT_FALSE(a.synced);
}

TEST_F(EtcdRegistryTest, TheNextEndpointIsTakenWhereOneIsDead) {
  EtcdProcess dead;
  Member a(etcd, 1, 1, {dead.endpoint(), etcd.endpoint()});
  EXPECT_TRUE(a.is_synced());
  EXPECT_EQ(a.mark(first), RegistryOutcome::done);
  EXPECT_NE(a.registry().description().find(etcd.endpoint()), std::string::npos)
      << a.registry().description();
}

TEST_F(EtcdRegistryTest, ForeignKeysAreCountedAndIgnored) {
  (void)etcd.control("put /sluice/v1/test/manifest/rubbish nonsense");
  (void)etcd.control("put /sluice/v1/test/node/0000000000000009 '{\"epoch\":7}'");
  (void)etcd.control("put /sluice/v1/testing/node/0000000000000008 other");
  Member a(etcd, 1);
  ASSERT_TRUE(a.is_synced());
  EXPECT_EQ(a.nodes.size(), 1U);
  (void)etcd.control("put /sluice/v1/test/current/film '{{{{'");
  (void)etcd.control("put /sluice/v1/test/mark/x/y z");
  EXPECT_EQ(a.mark(first), RegistryOutcome::done);
  ASSERT_TRUE(a.until([&] { return a.marks.size() == 1; }));
  EXPECT_TRUE(a.currents.empty());
  EXPECT_GE(a.count(stats::Counter::cluster_foreign), 3U);
  (void)etcd.control("del /sluice/v1/test/current/film");
  EXPECT_EQ(a.ask(Commit{.path = "film", .generation = first, .marks = {a.mark_of(first)}}),
            RegistryOutcome::done);
}

TEST_F(EtcdRegistryTest, ALargeManifestFits) {
  Member a(etcd, 1);
  ASSERT_TRUE(a.is_synced());
  Manifest manifest{.generation = first,
                    .path = "large",
                    .size_bytes = uint64_t{pieces_max} << 21,
                    .piece_bytes = 2U << 20};
  manifest.piece_crcs.assign(pieces_max, 0xabcdef01);
  manifest.digest = digest_of(manifest, digest::digests());
  EXPECT_EQ(a.put(manifest), RegistryOutcome::done);
  EXPECT_TRUE(a.until([&] { return a.manifests.contains(first); }));
  Member late(etcd, 2);
  ASSERT_TRUE(late.is_synced());
  EXPECT_EQ(late.manifests[first].digest, manifest.digest);
}

// The Directory over it: published on two nodes through a real etcd.
TEST_F(EtcdRegistryTest, DirectoriesPublishThroughIt) {
  struct Node {
    Node(const EtcdProcess& etcd, uint64_t id)
        : registry(std::move(*EtcdRegistry::create({.endpoints = {etcd.endpoint()},
                                                    .self = {.node = {id},
                                                             .epoch = 1,
                                                             .name = "n" + std::to_string(id),
                                                             .hold_bytes_max = 1'000'000},
                                                    .digests = digest::digests()}))),
          directory(DirectoryConfig{.self = {id},
                                    .epoch = 1,
                                    .piece_bytes = 4096,
                                    .hold_bytes_max = 1'000'000,
                                    .digests = digest::digests()}) {}
    void turn() {
      const Instant now = Instant::from_ns(Clock::now().time_since_epoch().count());
      RegistryEvent event;
      while (registry->poll(event)) directory.handle(now, event);
      directory.handle_timeout(now);
      Task task;
      while (directory.poll_task(task)) {
        if (const auto* ingest = std::get_if<IngestTask>(&task)) {
          directory.handle_ingested(now, ingest->ticket, manifest_of({}, ingest->path));
        } else if (const auto* hold = std::get_if<HoldTask>(&task)) {
          directory.handle_held(now, hold->manifest.generation, HoldResult::verified);
        } else if (const auto* redirect = std::get_if<RedirectTask>(&task)) {
          leads_to[redirect->path] = redirect->generation;
        }
      }
      RegistryRequest request;
      while (directory.poll_request(request)) registry->submit(request);
    }
    std::unique_ptr<EtcdRegistry> registry;
    Directory directory;
    std::map<std::string, GenerationId> leads_to;
  };
  Node a(etcd, 1);
  Node b(etcd, 2);
  const auto until = [&](const std::function<bool()>& condition) {
    const auto end = Clock::now() + seconds(20);
    while (!condition() && Clock::now() < end) {
      a.turn();
      b.turn();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return condition();
  };
  ASSERT_TRUE(
      until([&] { return a.directory.nodes().size() == 2 && b.directory.nodes().size() == 2; }));
  std::vector<uint32_t> tickets;
  const Instant now = Instant::from_ns(Clock::now().time_since_epoch().count());
  for (int i = 0; i < 20; ++i) {
    tickets.push_back(a.directory.publish(now, 1000 + i, "f" + std::to_string(i), 2));
  }
  for (const uint32_t ticket : tickets) {
    EXPECT_TRUE(until([&] { return a.directory.status(ticket).state == PublishState::published; }))
        << a.directory.status(ticket).detail;
    const PublishStatus status = a.directory.status(ticket);
    EXPECT_EQ(status.copies_verified, 2);
  }
  EXPECT_TRUE(until([&] { return b.leads_to.size() == 20; }));
  const uint32_t gone = b.directory.unpublish(now, "f7");
  EXPECT_TRUE(until([&] { return b.directory.status(gone).state == PublishState::published; }));
  EXPECT_TRUE(until([&] { return a.leads_to["f7"].is_none(); }));
}

}  // namespace
}  // namespace sluice::cluster
