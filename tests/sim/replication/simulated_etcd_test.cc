// The simulated etcd keeps the rules of replica/registry.h.
#include "simulated_etcd.h"

#include <gtest/gtest.h>

namespace sluice::sim {
namespace {

using namespace replica;

constexpr int64_t second_ns = 1'000'000'000;

class SimulatedEtcdTest : public testing::Test {
 protected:
  void SetUp() override {
    for (uint32_t host = 0; host < 2; ++host) etcd.start(now_ns, host, self(host));
    run(second_ns);
    (void)events(0);
    (void)events(1);
  }
  static NodeSeen self(uint32_t host, NodeEpoch epoch = 1) {
    return {{host + 1}, epoch, "n" + std::to_string(host), "", 1000};
  }
  void run(int64_t ns) {
    const int64_t end = now_ns + ns;
    while (etcd.next_ns() <= end) {
      now_ns = std::max(now_ns, etcd.next_ns());
      etcd.advance(now_ns);
      for (uint32_t host = 0; host < 2; ++host) {
        RegistryEvent event;
        while (etcd.poll(now_ns, host, event)) inbox[host].push_back(event);
      }
    }
    etcd.advance(now_ns = end);
  }
  std::vector<RegistryEvent> events(uint32_t host) { return std::exchange(inbox[host], {}); }
  template <typename Event>
  size_t count(const std::vector<RegistryEvent>& all) {
    size_t n = 0;
    for (const RegistryEvent& event : all) n += std::holds_alternative<Event>(event) ? 1u : 0u;
    return n;
  }
  RegistryOutcome ask(uint32_t host, RegistryRequest request) {
    std::visit([&](auto& what) { what.request = ++number; }, request);
    etcd.submit(now_ns, host, request);
    run(3 * second_ns);
    for (const RegistryEvent& event : inbox[host]) {
      const auto* answer = std::get_if<RegistryAnswer>(&event);
      if (answer != nullptr && answer->request == number) return answer->outcome;
    }
    ADD_FAILURE() << "no answer";
    return RegistryOutcome::refused;
  }
  RegistryOutcome mark(uint32_t host, bool held = true) {
    return ask(host, PutRecord{0, Mark{generation, {host + 1}, 1, held}});
  }

  SimulatedEtcd etcd{EtcdOptions{}};
  int64_t now_ns = second_ns;
  std::array<std::vector<RegistryEvent>, 2> inbox;
  uint32_t number = 0;
  GenerationId generation{7, {1}};
};

TEST_F(SimulatedEtcdTest, ACommitNeedsEachMarkAndTheExpectedPointer) {
  const Commit commit{0, "a", generation, {}, {Mark{generation, {1}, 1, true}}};
  EXPECT_EQ(ask(0, commit), RegistryOutcome::conflict);
  EXPECT_EQ(mark(0, false), RegistryOutcome::done);
  EXPECT_EQ(ask(0, commit), RegistryOutcome::conflict);
  EXPECT_EQ(mark(0), RegistryOutcome::done);
  EXPECT_EQ(ask(0, commit), RegistryOutcome::done);
  EXPECT_EQ(ask(0, commit), RegistryOutcome::conflict);  // it leads there already
  EXPECT_EQ(etcd.currents().at("a").generation, generation);
}

TEST_F(SimulatedEtcdTest, WhoIsCutOffIsFencedBeforeOthersCountItAsGone) {
  EXPECT_EQ(mark(1), RegistryOutcome::done);
  (void)events(0);
  (void)events(1);
  etcd.set_cut(1, true);
  run(5 * second_ns);
  EXPECT_EQ(count<Fenced>(events(1)), 1u);
  EXPECT_EQ(count<NodeGone>(events(0)), 0u);
  run(3 * second_ns);
  const auto seen = events(0);
  EXPECT_EQ(count<NodeGone>(seen), 1u);
  EXPECT_EQ(count<RecordGone>(seen), 1u);
  EXPECT_TRUE(etcd.marks().empty());
}

TEST_F(SimulatedEtcdTest, WhoComesBackIsToldWhatChanged) {
  EXPECT_EQ(mark(0), RegistryOutcome::done);
  (void)events(1);
  etcd.set_cut(1, true);
  run(10 * second_ns);
  EXPECT_EQ(ask(0, DropRecord{0, DropRecord::What::mark, generation}), RegistryOutcome::done);
  (void)events(1);
  etcd.set_cut(1, false);
  run(3 * second_ns);
  const auto seen = events(1);
  EXPECT_EQ(count<RecordGone>(seen), 1u);
  EXPECT_EQ(count<Synced>(seen), 1u);
  EXPECT_EQ(count<NodeSeen>(seen), 1u);
}

TEST_F(SimulatedEtcdTest, AHungEtcdAnswersUnavailableAndForgetsNobody) {
  EXPECT_EQ(mark(0), RegistryOutcome::done);
  (void)events(0);
  etcd.set_available(false);
  EXPECT_EQ(mark(1), RegistryOutcome::unavailable);
  run(20 * second_ns);
  EXPECT_EQ(etcd.marks().size(), 1u);
  const auto seen = events(0);
  EXPECT_EQ(count<Fenced>(seen), 1u);
  EXPECT_EQ(count<NodeGone>(seen), 0u);
  etcd.set_available(true);
  run(3 * second_ns);
  EXPECT_EQ(count<Synced>(events(0)), 1u);
  // A new lease: marks must be put again.
  EXPECT_TRUE(etcd.marks().empty());
}

TEST_F(SimulatedEtcdTest, ARestartedNodesOldMarksAreGone) {
  EXPECT_EQ(mark(1), RegistryOutcome::done);
  etcd.kill(1);
  etcd.start(now_ns, 1, self(1, 2));
  run(second_ns);
  EXPECT_TRUE(etcd.marks().empty());
}

}  // namespace
}  // namespace sluice::sim
