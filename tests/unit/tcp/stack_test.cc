// What the packet scripts cannot say: fairness, pools that run dry, draining, memory.
#include "tcp/stack.h"

#include <gtest/gtest.h>

#include <map>

#include "../../packet/bench.h"

namespace sluice::tcp {
namespace {

using packet::Bench;
using stats::Counter;
namespace flag = wire::tcp_flag;

Config config_for(uint32_t connections) {
  Config config;
  config.max_connections = connections;
  config.max_half_open = connections;
  config.time_wait_max = 4;
  config.send_queues = connections;
  config.receive_buffers = 2;
  config.sent_runs = 2;
  EXPECT_TRUE(config.ports.push_back(80));
  config.key = {3, 4};
  return config;
}

struct Client {
  uint16_t port = 0;
  uint32_t seq = 0xffff'fff0;  // wraps within the first request
  uint32_t ack = 0;
  ConnectionIndex connection;
};

Received deliver(Bench& bench, const Client& client, uint8_t flags, std::string_view text = {}) {
  // The frame: what is borrowed from it stays until the next call.
  static std::array<std::byte, 2048> bytes;
  ASSERT(wire::tcp_header_max_bytes + text.size() <= bytes.size());
  const wire::TcpHeader header{.source_port = client.port,
                               .destination_port = 80,
                               .sequence = client.seq,
                               .acknowledgment = client.ack,
                               .flags = flags,
                               .window = 65'535};
  wire::TcpOptions options;
  options.has_mss = (flags & flag::syn) != 0;
  options.mss = 1000;
  const size_t length = wire::emit_tcp(header, options, bytes);
  const Bytes body = as_byte_span(text);
  std::copy(body.begin(), body.end(), bytes.begin() + static_cast<ptrdiff_t>(length));
  return bench.stack.handle_segment(bench.now,
                                    {.source = inet::Address::v4(0x0a000002),
                                     .segment = Bytes(bytes).first(length + text.size())});
}

Client connect(Bench& bench, uint16_t port) {
  Client client{.port = port};
  (void)deliver(bench, client, flag::syn);
  bench.drain();
  EXPECT_FALSE(bench.sent.empty());
  client.ack = bench.sent.back().header.sequence + 1;
  client.seq += 1;
  (void)deliver(bench, client, flag::ack);
  bench.drain();
  EXPECT_FALSE(bench.events.empty());
  client.connection = bench.events.back().connection;
  bench.events.clear();
  bench.sent.clear();
  return client;
}

TEST(Stack, KnowsAConnectionIn256Bytes) {
  const Config small = config_for(1 << 10);
  const Config large = config_for(1 << 11);
  Config pools = large;  // the same pools as `small`
  pools.max_half_open = small.max_half_open;
  pools.send_queues = small.send_queues;
  const uint64_t each = (Stack::memory_bytes(pools) - Stack::memory_bytes(small)) >> 10;
  RecordProperty("bytes_per_idle_connection", static_cast<int>(each));
  EXPECT_LE(each, 256u);
}

TEST(Stack, SendersTakeTurns) {
  Bench bench(config_for(8));
  std::vector<Client> clients;
  for (uint16_t i = 0; i < 4; ++i) {
    clients.push_back(connect(bench, static_cast<uint16_t>(1000 + i)));
  }
  bench.hold_pieces();  // not before all of them are in line
  for (const Client& client : clients) {
    ASSERT_TRUE(bench.send_from_slot(client.connection, 0, 900));
    ASSERT_TRUE(bench.send_from_slot(client.connection, 900, 900));
  }
  std::map<ConnectionIndex, int> turns;
  SegmentOut out;
  for (int i = 0; i < 4; ++i) {
    const ConnectionIndex next = bench.stack.next_sender(bench.now);
    ASSERT_FALSE(next.is_none());
    ++turns[next];
    EXPECT_EQ(bench.stack.poll_segment(bench.now, next, out), Poll::segment);
    EXPECT_EQ(out.payload_length, 1800u);
    EXPECT_EQ(out.segment_size, 1000u);
  }
  EXPECT_EQ(turns.size(), 4u);
  EXPECT_TRUE(bench.stack.next_sender(bench.now).is_none());
}

TEST(Stack, WhoIsParkedWaitsForTheWholeLine) {
  Bench bench(config_for(4));
  const Client client = connect(bench, 1000);
  ASSERT_TRUE(bench.send_from_slot(client.connection, 0, 100));
  const ConnectionIndex next = bench.stack.next_sender(bench.now);
  bench.stack.park(next);
  EXPECT_TRUE(bench.stack.next_sender(bench.now).is_none());
  ASSERT_TRUE(bench.send_from_slot(client.connection, 100, 100));  // changes nothing
  EXPECT_TRUE(bench.stack.next_sender(bench.now).is_none());
  bench.stack.unpark_all();
  EXPECT_EQ(bench.stack.next_sender(bench.now), next);
  EXPECT_EQ(bench.tear_down(), nullptr);
}

TEST(Stack, SendQueuesRunDryAndComeBack) {
  Config config = config_for(4);
  config.send_queues = 1;
  Bench bench(config);
  Client first = connect(bench, 1000);
  const Client second = connect(bench, 1001);
  ASSERT_TRUE(bench.send(first.connection, 0, 500));
  EXPECT_EQ(bench.stack.spans_free(second.connection), 0u);
  EXPECT_FALSE(bench.send(second.connection, 0, 500));
  bench.drain();
  bench.events.clear();

  first.ack += 500;
  (void)deliver(bench, first, flag::ack);
  bench.drain();
  std::map<ConnectionIndex, int> told;
  for (const Event& event : bench.events) {
    EXPECT_EQ(event.kind, EventKind::acknowledged);
    ++told[event.connection];
  }
  EXPECT_EQ(told[first.connection], 1);
  EXPECT_EQ(told[second.connection], 1);  // so that it tries again
  EXPECT_TRUE(bench.send(second.connection, 0, 500));
  EXPECT_GE(bench.counters.get(Counter::tcp_send_queues_exhausted), 1u);
  EXPECT_EQ(bench.tear_down(), nullptr);
}

TEST(Stack, ReceiveBuffersRunDryAndNothingIsAcknowledged) {
  Bench bench(config_for(4));
  std::vector<Client> clients;
  for (uint16_t i = 0; i < 3; ++i) {
    clients.push_back(connect(bench, static_cast<uint16_t>(1000 + i)));
    const Received received =
        deliver(bench, clients.back(), flag::ack | flag::psh, "GET / HTTP/1.1\r\n");
    EXPECT_EQ(as_text(received.readable), "GET / HTTP/1.1\r\n");
    bench.stack.consume(received.connection, 0);
  }
  EXPECT_EQ(bench.stack.usage().receive_buffers, 2u);
  EXPECT_EQ(bench.stack.readable(clients[1].connection).size(), 16u);
  EXPECT_EQ(bench.stack.readable(clients[2].connection).size(), 0u);
  EXPECT_EQ(bench.stack.info(clients[2].connection).bytes_received, 0u);

  // One comes free, and the third peer tries again.
  bench.stack.consume(clients[0].connection, 16);
  const Received again = deliver(bench, clients[2], flag::ack | flag::psh, "GET / HTTP/1.1\r\n");
  EXPECT_EQ(again.readable.size(), 16u);
  bench.stack.consume(again.connection, 0);
  EXPECT_EQ(bench.stack.info(clients[2].connection).bytes_received, 16u);
  EXPECT_EQ(bench.tear_down(), nullptr);
}

TEST(Stack, AnIdleConnectionHoldsNothingFromThePools) {
  Bench bench(config_for(4));
  Client client = connect(bench, 1000);
  const Received received = deliver(bench, client, flag::ack | flag::psh, "hello");
  client.seq += 5;
  bench.stack.consume(received.connection, 5);
  ASSERT_TRUE(bench.send(client.connection, 0, 3000));
  bench.drain();
  client.ack += 3000;
  (void)deliver(bench, client, flag::ack);
  bench.drain();
  const Usage usage = bench.stack.usage();
  EXPECT_EQ(usage.connections, 1u);
  EXPECT_EQ(usage.send_queues, 0u);
  EXPECT_EQ(usage.receive_buffers, 0u);
  EXPECT_EQ(usage.sent_runs, 0u);
  EXPECT_EQ(usage.recoveries, 0u);
  EXPECT_EQ(bench.stack.bytes_unacknowledged(client.connection), 0u);
}

TEST(Stack, RefusesWhileDraining) {
  Bench bench(config_for(4));
  const Client open = connect(bench, 1000);
  const Client half{.port = 1001};
  (void)deliver(bench, half, flag::syn);
  bench.drain();
  bench.sent.clear();
  bench.stack.set_accepting(false);
  EXPECT_EQ(bench.stack.usage().half_open, 0u);

  const Client late{.port = 1002};
  (void)deliver(bench, late, flag::syn);
  bench.drain();
  ASSERT_EQ(bench.sent.size(), 1u);
  EXPECT_TRUE(bench.sent[0].header.has(flag::rst));
  EXPECT_EQ(bench.sent[0].header.acknowledgment, late.seq + 1);
  EXPECT_EQ(bench.counters.get(Counter::tcp_refused_draining), 1u);
  EXPECT_TRUE(bench.stack.is_open(open.connection));
  bench.stack.set_accepting(true);
  (void)connect(bench, 1003);
}

TEST(Stack, EveryConnectionIsToldClosedOnce) {
  Bench bench(config_for(4));
  const Client client = connect(bench, 1000);
  bench.stack.abort(bench.now, client.connection);
  bench.stack.abort(bench.now, client.connection);
  EXPECT_FALSE(bench.stack.is_open(client.connection));
  EXPECT_EQ(bench.stack.spans_free(client.connection), 0u);
  bench.stack.consume(client.connection, 0);
  bench.stack.close(bench.now, client.connection);
  bench.drain();
  ASSERT_EQ(bench.events.size(), 1u);
  EXPECT_EQ(bench.events[0].kind, EventKind::closed);
  EXPECT_EQ(bench.events[0].reason, CloseReason::aborted);
  EXPECT_EQ(bench.stack.connection_count(), 0u);
}

TEST(Stack, TheSessionsDeadlineIsToldOnceAndNeverEarly) {
  Bench bench(config_for(4));
  const Client client = connect(bench, 1000);
  const Instant begin = bench.now;
  bench.stack.set_deadline(bench.now, client.connection, Duration::from_s(5));
  bench.run(begin + Duration::from_ms(2900), false);
  bench.stack.set_deadline(bench.now, client.connection, Duration::from_ms(3000));  // a later one
  bench.run(begin + Duration::from_ms(5899), false);
  EXPECT_TRUE(bench.events.empty());
  bench.run(begin + Duration::from_ms(5903), false);
  ASSERT_EQ(bench.events.size(), 1u);
  EXPECT_EQ(bench.events[0].kind, EventKind::deadline);
  bench.stack.set_deadline(bench.now, client.connection, Duration::from_ms(100));
  bench.stack.clear_deadline(client.connection);
  bench.run(bench.now + Duration::from_ms(200), false);
  EXPECT_EQ(bench.events.size(), 1u);
}

TEST(Stack, HeadAndBodyLeaveInOneSegment) {
  Bench bench(config_for(4));
  const Client client = connect(bench, 1000);
  ASSERT_TRUE(bench.send_from_slot(client.connection, 0, 200));
  ASSERT_TRUE(bench.send(client.connection, 200, 500));
  bench.drain();
  ASSERT_EQ(bench.sent.size(), 1u);
  EXPECT_EQ(bench.sent[0].payload.size(), 700u);
  EXPECT_TRUE(bench.sent[0].header.has(flag::psh));
  EXPECT_EQ(bench.tear_down(), nullptr);
}

TEST(Stack, AHeadWaitsForItsBodyToComeIntoTheArena) {
  Bench bench(config_for(4));
  const Client client = connect(bench, 1000);
  bench.hold_pieces();
  ASSERT_TRUE(bench.send_from_slot(client.connection, 0, 200));
  ASSERT_TRUE(bench.send(client.connection, 200, 500));
  bench.drain();
  EXPECT_TRUE(bench.sent.empty());
  EXPECT_TRUE(bench.stack.info(client.connection).blocked);
  bench.give_pieces();
  ASSERT_EQ(bench.sent.size(), 1u);
  EXPECT_EQ(bench.sent[0].payload.size(), 700u);
  EXPECT_EQ(bench.tear_down(), nullptr);
}

}  // namespace
}  // namespace sluice::tcp
