// What happens when something runs out, or when many go at once: first no new connections, then no
// new requests, and never a running response.

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "world.h"

namespace sluice::engine {
namespace {

using sim::ClientState;
using sim::ReferenceClient;
using sim::World;
using sim::WorldOptions;
using stats::Counter;

constexpr int64_t second_ns = 1'000'000'000;
constexpr int64_t never_ns = 3600 * second_ns;

std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: s\r\n\r\n";
}

std::string body_of(const std::string& response) {
  const size_t at = response.find("\r\n\r\n");
  return at == std::string::npos ? "" : response.substr(at + 4);
}

bool established(const ReferenceClient& client) {
  return client.state() == ClientState::established;
}

void expect_nothing_held(World& world) {
  EXPECT_TRUE(world.run_until([&] { return world.engine().is_drained(); }));
  world.run_for(1'000'000);
  const Snapshot snapshot = world.engine().snapshot();
  EXPECT_EQ(snapshot.connections, 0u);
  EXPECT_EQ(snapshot.half_open, 0u);
  EXPECT_EQ(snapshot.send_queues, 0u);
  EXPECT_EQ(snapshot.receive_buffers, 0u);
  EXPECT_EQ(snapshot.stalled, 0u);
  EXPECT_EQ(snapshot.pins, 0u);
  EXPECT_EQ(snapshot.head_slots_in_use, 0u);
  EXPECT_EQ(snapshot.objects_in_use, 0u);
  EXPECT_EQ(snapshot.lookups_open, 0u);
  EXPECT_EQ(world.violations(), "");
}

TEST(Limits, ARefusalWaitsForTheLinkAddressOfTheRefused) {
  World world({});
  world.engine().begin_drain(Instant::from_ns(world.now_ns()));
  // It sends its SYN once: the reset must not be lost for want of an ARP answer.
  ReferenceClient& client = world.connect({.retransmit_ns = never_ns});
  EXPECT_TRUE(world.run_until([&] { return client.state() == ClientState::reset; }, second_ns));
  EXPECT_EQ(world.counters().get(Counter::engine_drop_reply_unresolved), 0u);
}

TEST(Limits, RefusalsOfStationsThatDoNotExistAreForgotten) {
  World world({.clients_answer_neighbors = false});
  world.engine().begin_drain(Instant::from_ns(world.now_ns()));
  for (int i = 0; i < 200; ++i) world.connect({.retransmit_ns = never_ns});
  world.run_for(10 * second_ns);
  EXPECT_EQ(world.counters().get(Counter::engine_drop_reply_unresolved), 200u);
}

TEST(Limits, AbortAllResetsEveryConnection) {
  World world({.connections_max = 1500});
  world.content().add_file("a", 3'000'000, 1);
  std::vector<ReferenceClient*> clients;
  for (int i = 0; i < 1500; ++i) clients.push_back(&world.connect());
  ASSERT_TRUE(world.run_until([&] {
    return std::all_of(clients.begin(), clients.end(), [](auto* c) { return established(*c); });
  }));
  world.run_for(10'000'000);  // the last of the third packets
  world.engine().abort_all(Instant::from_ns(world.now_ns()));
  ASSERT_TRUE(world.run_until([&] { return world.engine().is_drained(); }, second_ns));
  world.run_for(10'000'000);
  for (ReferenceClient* client : clients) ASSERT_EQ(client->state(), ClientState::reset);
  EXPECT_EQ(world.counters().get(Counter::tcp_replies_dropped), 0u);
  expect_nothing_held(world);
}

TEST(Limits, TenThousandAbortedConnectionsInASecondLeaveNothing) {
  // Each client asks for a file and goes away in the middle of it: 100 at a time, 10 ms long.
  WorldOptions options{.head_slots = 256, .connections_max = 256};
  options.link.bytes_per_second = 80'000'000;
  World world(options);
  world.content().add_file("a", 1'000'000, 1);
  const int64_t began_ns = world.now_ns();
  for (int round = 0; round < 100; ++round) {
    std::vector<ReferenceClient*> clients;
    for (int i = 0; i < 100; ++i) {
      clients.push_back(&world.connect({.window_bytes = 3'000}));
      clients.back()->send(world.now_ns(), get("/a"));
    }
    world.run_for(5'000'000);
    for (ReferenceClient* client : clients) {
      EXPECT_GT(client->received_bytes(), 0u);
      client->abort(world.now_ns());
    }
    world.run_for(4'500'000);
    world.forget_clients();
  }
  EXPECT_LE(world.now_ns() - began_ns, second_ns);
  EXPECT_EQ(world.counters().get(Counter::tcp_accepted), 10'000u);
  EXPECT_EQ(world.counters().get(Counter::tcp_reset_by_peer), 10'000u);
  expect_nothing_held(world);
  EXPECT_EQ(world.engine().snapshot().time_wait, 0u);
}

TEST(Limits, SplitHeadsDoNotMakeOthersWait) {
  World world({.connections_max = 64, .receive_buffers = 8});
  world.content().add_file("a", 100, 1);
  std::vector<ReferenceClient*> attackers;
  for (int i = 0; i < 16; ++i) {
    attackers.push_back(&world.connect());
    attackers.back()->send(world.now_ns(), "GET /a HTTP/1.1\r\nHo");
    world.run_for(10'000'000);
  }
  EXPECT_EQ(world.engine().snapshot().receive_buffers, 8u);
  ReferenceClient& client = world.connect();
  ASSERT_TRUE(world.run_until([&] { return established(client); }));
  const std::string request = get("/a");
  client.send(world.now_ns(), request.substr(0, 20));
  world.run_for(50'000'000);
  client.send(world.now_ns(), request.substr(20));
  EXPECT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 100; }, second_ns));
  // Those that have waited longest were told so.
  EXPECT_EQ(attackers[0]->received().substr(0, 12), "HTTP/1.1 408");
  EXPECT_TRUE(attackers[0]->peer_closed());
  EXPECT_EQ(attackers[15]->received(), "");
  EXPECT_GE(world.counters().get(Counter::session_buffers_shed), 4u);
}

TEST(Limits, PipeliningBehindAResponseDoesNotHoldReceiveBuffers) {
  World world({.connections_max = 64, .receive_buffers = 4});
  world.content().add_file("a", 100, 1);
  world.content().add_file("large", 900'000, 2);
  std::vector<ReferenceClient*> readers;
  for (int i = 0; i < 4; ++i) {
    readers.push_back(&world.connect({.window_bytes = 20'000}));
    readers.back()->send(world.now_ns(), get("/large"));
    ASSERT_TRUE(world.run_until([&] { return readers.back()->received_bytes() > 20'000; }));
    readers.back()->send(world.now_ns(), get("/a").substr(0, 15));
  }
  ASSERT_TRUE(
      world.run_until([&] { return world.engine().snapshot().receive_buffers == 4; }, second_ns));
  ReferenceClient& client = world.connect();
  ASSERT_TRUE(world.run_until([&] { return established(client); }));
  const std::string request = get("/a");
  client.send(world.now_ns(), request.substr(0, 20));
  world.run_for(1'000'000);
  client.send(world.now_ns(), request.substr(20));
  EXPECT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 100; }, second_ns));
  // What was being sent arrives whole, all the same.
  for (ReferenceClient* reader : readers) {
    EXPECT_TRUE(world.run_until([&] { return body_of(reader->received()).size() >= 900'000; }));
    EXPECT_TRUE(body_of(reader->received()).substr(0, 900'000) == sim::pattern(2, 0, 900'000));
  }
}

TEST(Limits, WithoutSendQueuesNewRequestsGet503AndRunningResponsesGoOn) {
  World world({.connections_max = 64, .send_queues = 16});
  world.content().add_file("large", 900'000, 2);
  std::vector<ReferenceClient*> readers;
  for (int i = 0; i < 15; ++i) {
    readers.push_back(&world.connect({.window_bytes = 20'000}));
    readers.back()->send(world.now_ns(), get("/large"));
  }
  ASSERT_TRUE(world.run_until([&] { return readers.back()->received_bytes() > 20'000; }));
  ASSERT_EQ(world.engine().snapshot().send_queues, 15u);
  std::vector<ReferenceClient*> late;
  for (int i = 0; i < 5; ++i) {
    late.push_back(&world.connect());
    late.back()->send(world.now_ns(), get("/large"));
    ASSERT_TRUE(world.run_until([&] { return late.back()->peer_closed(); }, second_ns));
    EXPECT_EQ(late.back()->received().substr(0, 12), "HTTP/1.1 503");
    EXPECT_NE(late.back()->received().find("Retry-After: "), std::string::npos);
    late.back()->close(world.now_ns());
  }
  EXPECT_EQ(world.counters().get(Counter::session_requests_shed), 5u);
  for (ReferenceClient* reader : readers) {
    EXPECT_TRUE(world.run_until([&] { return body_of(reader->received()).size() >= 900'000; }));
    EXPECT_TRUE(body_of(reader->received()) == sim::pattern(2, 0, 900'000));
    reader->close(world.now_ns());
  }
  expect_nothing_held(world);
}

TEST(Limits, WithoutHeadSlotsARequestWaitsAndThenGets503) {
  World world({.head_slots = 5, .connections_max = 64, .slot_patience_ns = 2 * second_ns});
  world.content().add_file("a", 100, 2);
  // Four readers who do not even take the head of their response; one slot is the 503's own.
  std::vector<ReferenceClient*> stalled;
  for (int i = 0; i < 4; ++i) {
    stalled.push_back(&world.connect({.window_bytes = 0}));
    stalled.back()->send(world.now_ns(), get("/a"));
    world.run_for(20'000'000);
  }
  ASSERT_EQ(world.engine().snapshot().head_slots_in_use, 4u);
  ReferenceClient& client = world.connect();
  const int64_t began_ns = world.now_ns();
  client.send(began_ns, get("/a"));
  ASSERT_TRUE(world.run_until([&] { return client.peer_closed(); }, 5 * second_ns));
  EXPECT_GE(world.now_ns() - began_ns, 2 * second_ns);
  EXPECT_EQ(client.received().substr(0, 12), "HTTP/1.1 503");
  client.close(world.now_ns());
  // A while later the stalled ones have had their chance.
  world.run_for(10 * second_ns);
  ReferenceClient& next = world.connect();
  next.send(world.now_ns(), get("/a"));
  EXPECT_TRUE(world.run_until([&] { return body_of(next.received()).size() == 100; }, second_ns));
  EXPECT_EQ(stalled[0]->state(), ClientState::reset);
  EXPECT_EQ(stalled[3]->state(), ClientState::established);
  EXPECT_EQ(world.counters().get(Counter::tcp_stalled_shed), 1u);
}

TEST(Limits, AFullServerTakesANewClientInPlaceOfAStalledReader) {
  World world({.connections_max = 8});
  world.content().add_file("large", 900'000, 2);
  std::vector<ReferenceClient*> readers;
  for (int i = 0; i < 8; ++i) {
    readers.push_back(&world.connect({.window_bytes = 20'000}));
    if (i == 3) readers.back()->stall();
    readers.back()->send(world.now_ns(), get("/large"));
  }
  world.run_for(11 * second_ns);
  ASSERT_EQ(world.engine().snapshot().stalled, 1u);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), get("/large"));
  EXPECT_TRUE(world.run_until([&] { return body_of(client.received()).size() == 900'000; },
                              30 * second_ns));
  EXPECT_EQ(readers[3]->state(), ClientState::reset);
  for (ReferenceClient* reader : readers) {
    if (reader == readers[3]) continue;
    EXPECT_TRUE(body_of(reader->received()).size() == 900'000);
  }
}

}  // namespace
}  // namespace sluice::engine
