// The engine as a client sees it: real frames in, real frames out, judged by an independent client.

#include "engine/engine.h"

#include <gtest/gtest.h>

#include "world.h"

namespace sluice::engine {
namespace {

using sim::ClientOptions;
using sim::ClientState;
using sim::ReferenceClient;
using sim::World;
using sim::WorldOptions;
using stats::Counter;

std::string get(const std::string& path, const std::string& fields = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: s\r\n" + fields + "\r\n";
}

std::string body_of(const std::string& response) {
  const size_t at = response.find("\r\n\r\n");
  return at == std::string::npos ? "" : response.substr(at + 4);
}

class EngineTest : public ::testing::TestWithParam<bool> {
 protected:
  WorldOptions options() {
    WorldOptions options;
    options.ipv6 = GetParam();
    return options;
  }
  static bool established(const ReferenceClient& client) {
    return client.state() == ClientState::established;
  }
  // Everything that was taken was given back.
  static void expect_clean(World& world) {
    EXPECT_TRUE(world.run_until([&] { return world.engine().is_drained(); }));
    world.run_for(1'000'000);
    const Snapshot snapshot = world.engine().snapshot();
    EXPECT_EQ(snapshot.connections, 0u);
    EXPECT_EQ(snapshot.pins, 0u);
    EXPECT_EQ(snapshot.head_slots_in_use, 0u);
    EXPECT_EQ(snapshot.objects_in_use, 0u);
    EXPECT_EQ(snapshot.lookups_open, 0u);
    EXPECT_EQ(world.violations(), "");
  }
};

TEST_P(EngineTest, ServesAFileAndKeepsTheConnection) {
  World world(options());
  world.content().add_file("a.html", 3000, 7);
  ReferenceClient& client = world.connect();
  for (int i = 0; i < 3; ++i) {
    client.forget_received();
    client.send(world.now_ns(), get("/a.html"));
    ASSERT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 3000; }));
    EXPECT_EQ(client.received().substr(0, 15), "HTTP/1.1 200 OK");
    EXPECT_NE(client.received().find("Content-Type: text/html"), std::string::npos);
    EXPECT_TRUE(body_of(client.received()) == sim::pattern(7, 0, 3000));
  }
  EXPECT_EQ(world.content().fills(), 1u);
  client.close(world.now_ns());
  expect_clean(world);
  EXPECT_EQ(client.state(), ClientState::done);
}

TEST_P(EngineTest, HeadAndSmallBodyLeaveInOneSegment) {
  World world(options());
  world.content().add_file("a.html", 500, 7);
  ReferenceClient& client = world.connect();
  ASSERT_TRUE(world.run_until([&] { return established(client); }));
  world.run_for(10'000'000);
  client.send(world.now_ns(), get("/a.html"));
  const uint64_t before = client.segments_received();
  ASSERT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 500; }));
  EXPECT_EQ(client.segments_received() - before, 1u);
}

TEST_P(EngineTest, AnObjectManyTimesTheArenaArrivesWhole) {
  WorldOptions small = options();
  small.chunk_count = 4;
  World world(small);
  const uint64_t size = 40 * uint64_t{small.chunk_bytes} + 123;
  world.content().add_file("big", size, 9);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), get("/big"));
  ASSERT_TRUE(world.run_until([&] { return body_of(client.received()).size() >= size; }));
  EXPECT_TRUE(body_of(client.received()) == sim::pattern(9, 0, size));
  client.close(world.now_ns());
  expect_clean(world);
}

TEST_P(EngineTest, ManyReadersOfOneMissingFileCauseOneLookupAndOneFill) {
  World world(options());
  world.content().add_file("a", 1000, 7);
  std::vector<ReferenceClient*> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(&world.connect());
    clients.back()->send(world.now_ns(), get("/a"));
  }
  for (ReferenceClient* client : clients) {
    ASSERT_TRUE(world.run_until([&] { return body_of(client->received()).size() == 1000; }));
    client->close(world.now_ns());
  }
  EXPECT_EQ(world.content().fills(), 1u);
  expect_clean(world);
}

TEST_P(EngineTest, ARangeIsServedFromItsOffset) {
  World world(options());
  world.content().add_file("a", 500'000, 7);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), get("/a", "Range: bytes=130000-130999\r\n"));
  ASSERT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 1000; }));
  EXPECT_EQ(client.received().substr(0, 12), "HTTP/1.1 206");
  EXPECT_NE(client.received().find("Content-Range: bytes 130000-130999/500000"), std::string::npos);
  EXPECT_TRUE(body_of(client.received()) == sim::pattern(7, 130'000, 1000));
}

TEST_P(EngineTest, PipelinedRequestsAreAnsweredInOrder) {
  World world(options());
  world.content().add_file("a", 10, 1);
  world.content().add_file("b", 20, 2);
  ReferenceClient& client = world.connect();
  std::string requests, expected_bodies;
  for (int i = 0; i < 30; ++i) requests += get(i % 2 == 0 ? "/a" : "/b");
  client.send(world.now_ns(), requests + get("/missing", "Connection: close\r\n"));
  ASSERT_TRUE(world.run_until([&] { return client.peer_closed(); }));
  size_t at = 0;
  for (int i = 0; i < 30; ++i) {
    at = client.received().find("\r\n\r\n", at) + 4;
    const std::string body = i % 2 == 0 ? sim::pattern(1, 0, 10) : sim::pattern(2, 0, 20);
    ASSERT_EQ(client.received().substr(at, body.size()), body) << "response " << i;
    at += body.size();
  }
  EXPECT_EQ(client.received().substr(at, 12), "HTTP/1.1 404");
  client.close(world.now_ns());
  expect_clean(world);
}

TEST_P(EngineTest, ARequestByteByByteIsAnswered) {
  World world(options());
  world.content().add_file("a", 10, 1);
  ReferenceClient& client = world.connect();
  for (const char byte : get("/a")) {
    client.send(world.now_ns(), {&byte, 1});
    world.run_for(1'000'000);
  }
  ASSERT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 10; }));
  client.close(world.now_ns());
  expect_clean(world);
}

TEST_P(EngineTest, ADirectoryIsRedirectedAndItsIndexServed) {
  World world(options());
  world.content().add_directory("d");
  world.content().add_file("d/index.html", 10, 1);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), get("/d") + get("/d/"));
  ASSERT_TRUE(
      world.run_until([&] { return client.received().find(" 200 OK") != std::string::npos; }));
  EXPECT_EQ(client.received().substr(0, 12), "HTTP/1.1 301");
  EXPECT_NE(client.received().find("Location: /d/\r\n"), std::string::npos);
}

TEST_P(EngineTest, AHalfClosingClientStillGetsItsAnswer) {
  World world(options());
  world.content().add_file("a", 200'000, 1);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), get("/a"));
  client.close(world.now_ns());
  ASSERT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 200'000; }));
  ASSERT_TRUE(world.run_until([&] { return client.peer_closed(); }));
  expect_clean(world);
}

TEST_P(EngineTest, ABadRequestIsRefusedAndTheConnectionClosed) {
  World world(options());
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET / HTTP/1.1\r\n");
  ASSERT_TRUE(world.run_until([&] { return client.peer_closed(); }));
  EXPECT_EQ(client.received().substr(0, 12), "HTTP/1.1 400");
  EXPECT_EQ(client.received().find("HTTP/1.1", 12), std::string::npos);
  client.close(world.now_ns());
  expect_clean(world);
}

TEST_P(EngineTest, AResetInMidResponseLeavesNothingBehind) {
  World world(options());
  world.content().add_file("a", 600'000, 1);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), get("/a"));
  ASSERT_TRUE(world.run_until([&] { return client.received_bytes() > 50'000; }));
  client.abort(world.now_ns());
  expect_clean(world);
}

TEST_P(EngineTest, AFileThatChangesWhileItIsSentIsNeverMixed) {
  WorldOptions small = options();
  small.chunk_count = 2;
  World world(small);
  const uint64_t size = 20 * uint64_t{small.chunk_bytes};
  world.content().add_file("a", size, 1);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), get("/a"));
  ASSERT_TRUE(world.run_until([&] { return client.received_bytes() > size / 3; }));
  world.content().change_file("a", size, 2);
  ASSERT_TRUE(world.run_until([&] { return client.state() == ClientState::reset; }));
  const std::string body = body_of(client.received());
  EXPECT_TRUE(body == sim::pattern(1, 0, body.size()));
  ReferenceClient& second = world.connect();
  second.send(world.now_ns(), get("/a"));
  ASSERT_TRUE(world.run_until([&] { return body_of(second.received()).size() == size; }));
  EXPECT_TRUE(body_of(second.received()) == sim::pattern(2, 0, size));
  EXPECT_EQ(world.counters().get(Counter::engine_responses_cut), 1u);
}

TEST_P(EngineTest, ADiskErrorEndsThatResponseAlone) {
  World world(options());
  world.content().add_file("bad", 300'000, 1);
  world.content().add_file("good", 300'000, 2);
  world.content().fail_reads("bad", true);
  ReferenceClient& bad = world.connect();
  ReferenceClient& good = world.connect();
  bad.send(world.now_ns(), get("/bad"));
  good.send(world.now_ns(), get("/good"));
  ASSERT_TRUE(world.run_until([&] { return bad.state() == ClientState::reset; }));
  ASSERT_TRUE(world.run_until([&] { return body_of(good.received()).size() == 300'000; }));
}

TEST_P(EngineTest, AStalledReaderHoldsNoChunk) {
  WorldOptions small = options();
  small.chunk_count = 2;
  World world(small);
  world.content().add_file("a", 400'000, 1);
  world.content().add_file("b", 400'000, 2);
  world.content().add_file("c", 400'000, 3);
  std::vector<ReferenceClient*> stalled;
  for (const char* path : {"/a", "/b"}) {
    stalled.push_back(&world.connect({.window_bytes = 20'000}));
    stalled.back()->stall();
    stalled.back()->send(world.now_ns(), get(path));
  }
  world.run_for(1'000'000'000);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), get("/c"));
  ASSERT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 400'000; }));
  for (ReferenceClient* reader : stalled) reader->resume(world.now_ns());
  ASSERT_TRUE(world.run_until([&] { return body_of(stalled[0]->received()).size() == 400'000; }));
  ASSERT_TRUE(world.run_until([&] { return body_of(stalled[1]->received()).size() == 400'000; }));
  EXPECT_TRUE(body_of(stalled[1]->received()) == sim::pattern(2, 0, 400'000));
}

TEST_P(EngineTest, AnUnfinishedRequestTimesOutWith408) {
  World world(options());
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), "GET / HTTP/1.1\r\nHo");
  ASSERT_TRUE(world.run_until([&] { return client.peer_closed(); }));
  EXPECT_EQ(client.received().substr(0, 12), "HTTP/1.1 408");
  client.close(world.now_ns());
  expect_clean(world);
}

TEST_P(EngineTest, AnIdleConnectionIsClosedSilently) {
  World world(options());
  ReferenceClient& client = world.connect();
  ASSERT_TRUE(world.run_until([&] { return client.peer_closed(); }, 100'000'000'000));
  EXPECT_EQ(client.received(), "");
}

TEST_P(EngineTest, ARequestBodyIsReadPastWithoutLosingTheNextRequest) {
  World world(options());
  world.content().add_file("a", 10, 1);
  ReferenceClient& client = world.connect();
  const std::string body(3000, 'x');
  client.send(world.now_ns(),
              get("/a", "Content-Length: 3000\r\n") + body + get("/a", "Connection: close\r\n"));
  ASSERT_TRUE(world.run_until([&] { return client.peer_closed(); }));
  size_t responses = 0;
  for (size_t at = 0; (at = client.received().find("HTTP/1.1 200", at)) != std::string::npos;
       ++at) {
    ++responses;
  }
  EXPECT_EQ(responses, 2u);
  EXPECT_EQ(world.counters().get(stats::Counter::http_body_drained_bytes), 3000u);
}

TEST_P(EngineTest, OptionsIsCountedAsA200) {
  World world(options());
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), "OPTIONS * HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(world.run_until([&] { return client.peer_closed(); }));
  EXPECT_EQ(client.received().substr(0, 15), "HTTP/1.1 200 OK");
  EXPECT_EQ(world.counters().get(stats::Counter::http_status_200), 1u);
}

TEST_P(EngineTest, TheFirstByteIsTimedFromTheWholeRequestOn) {
  WorldOptions slow = options();
  slow.content_delay_ns = 5'000'000;
  World world(slow);
  world.content().add_file("a", 3000, 1);
  ReferenceClient& client = world.connect();
  for (int i = 0; i < 3; ++i) {
    client.forget_received();
    client.send(world.now_ns(), get("/a"));
    ASSERT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 3000; }));
    world.run_for(100'000'000);
  }
  stats::HistogramSnapshot waited;
  waited.add(world.engine().first_byte_ns());
  EXPECT_EQ(waited.count(), 3u);
  EXPECT_GE(waited.quantile(1000), 2u * 5'000'000);  // the path, then the content
  EXPECT_LT(waited.quantile(500), 1'000'000u);       // both are known
}

TEST_P(EngineTest, DrainEndsRunningResponsesWholeAndRefusesNewConnections) {
  World world(options());
  world.content().add_file("a", 600'000, 1);
  ReferenceClient& busy = world.connect();
  ReferenceClient& idle = world.connect();
  busy.send(world.now_ns(), get("/a"));
  ASSERT_TRUE(world.run_until([&] { return busy.received_bytes() > 50'000; }));
  world.engine().begin_drain(Instant::from_ns(world.now_ns()));
  ASSERT_TRUE(world.run_until([&] { return idle.peer_closed(); }));
  ReferenceClient& late = world.connect();
  ASSERT_TRUE(world.run_until([&] { return busy.peer_closed(); }));
  EXPECT_TRUE(body_of(busy.received()) == sim::pattern(1, 0, 600'000));
  EXPECT_NE(late.state(), ClientState::established);
  expect_clean(world);  // although neither client closes its side
}

TEST_P(EngineTest, ASynFromAStationThatDoesNotExistIsForgottenWithItsNeighbor) {
  WorldOptions silent = options();
  silent.clients_answer_neighbors = false;
  World world(silent);
  for (int i = 0; i < 10; ++i) world.connect({.retransmit_ns = 3'600'000'000'000});
  world.run_for(1'000'000);
  EXPECT_EQ(world.engine().snapshot().half_open, 10u);
  world.run_for(5'000'000'000);
  EXPECT_EQ(world.engine().snapshot().half_open, 0u);
  EXPECT_EQ(world.counters().get(Counter::tcp_half_open_unreachable), 10u);
}

TEST_P(EngineTest, AllBytesArriveOverABadLink) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    WorldOptions bad = options();
    bad.seed = seed;
    bad.chunk_count = 4;
    bad.link = {.delay_ns = 1'000'000,
                .loss_per_10000 = 200,
                .reorder_per_10000 = 300,
                .duplicate_per_10000 = 100,
                .corrupt_per_10000 = 100};
    World world(bad);
    world.content().add_file("a", 700'000, seed);
    ReferenceClient& client = world.connect({.sack = seed % 3 != 0, .timestamps = seed % 2 == 0});
    client.send(world.now_ns(), get("/a"));
    ASSERT_TRUE(world.run_until([&] { return body_of(client.received()).size() >= 700'000; },
                                300'000'000'000))
        << "seed " << seed << " got " << client.received_bytes();
    EXPECT_TRUE(body_of(client.received()) == sim::pattern(seed, 0, 700'000)) << "seed " << seed;
    client.close(world.now_ns());
    world.run_until([&] { return world.engine().is_drained(); }, 200'000'000'000);
    const Snapshot snapshot = world.engine().snapshot();
    EXPECT_EQ(snapshot.pins, 0u) << "seed " << seed;
    EXPECT_EQ(snapshot.objects_in_use, 0u) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(BothFamilies, EngineTest, ::testing::Bool(),
                         [](const auto& family) { return family.param ? "IPv6" : "IPv4"; });

}  // namespace
}  // namespace sluice::engine
