// The application's calls, the rest of the world, and what may be expected of both.

#include <array>

#include "player.h"
#include "stats/catalogue.h"
#include "words.h"

namespace sluice::packet {

//   accept                          the stack told of a new connection
//   send N [close]                  queue N bytes of the pattern
//   write N                         the same out of a head slot (N <= 1024)
//   read all | read N               with `config consume manual`
//   close, abort
//   pieces ready                    with `config pieces none`
//   path lost, path found           the next hop
//   refuse                          new connections are not accepted any more
//   icmp mtu M seq S                a router's "too big", quoting our segment at S
//   peer port P to L                from here on another peer, to our port L
//   restart peer N                  the same peer again, its initial number N further on
//   flood N < PACKET                one packet N times
//   syn flood N                     SYNs of N other peers that never go on
//   ignore packets                  whatever was sent is fine
//   expect no packet | no event | event KIND [REASON] | received "read" NUMBER ...
//   expect WHAT [below|above] N     see measure(): what the stack holds, or any counter by its name
void Player::act(const std::vector<std::string>& words) {
  const std::string& verb = words[0];
  const tcp::ConnectionIndex connection = peer_.connection;
  const bool needs_connection =
      verb == "send" || verb == "write" || verb == "read" || verb == "close" || verb == "abort";
  if (needs_connection && connection.is_none()) return fail("there is no connection yet");
  if (verb == "accept") {
    act_accept();
  } else if (verb == "send" || verb == "write") {
    act_send(words);
  } else if (verb == "read") {
    act_read(words);
  } else if (verb == "close") {
    bench_.stack.close(bench_.now, connection);
  } else if (verb == "abort") {
    bench_.stack.abort(bench_.now, connection);
  } else if (verb == "pieces") {
    bench_.give_pieces();
  } else if (verb == "path") {
    words[1] == "lost" ? bench_.lose_path() : bench_.find_path();
  } else if (verb == "refuse") {
    bench_.stack.set_accepting(false);
  } else if (verb == "icmp") {
    act_icmp(words);
  } else if (verb == "peer" || verb == "restart") {
    act_peer(words);
  } else if (verb == "flood") {
    act_flood(words);
  } else if (verb == "syn") {
    act_syn_flood(number(words.back()));
  } else if (verb == "ignore") {
    while (!bench_.sent.empty()) static_cast<void>(take_sent());
  } else if (verb == "expect") {
    return act_expect(words);
  } else {
    fail("unknown action");
  }
  after_call();
}

void Player::act_accept() {
  for (auto event = bench_.events.begin(); event != bench_.events.end(); ++event) {
    if (event->kind != tcp::EventKind::accepted) continue;
    peer_.connection = event->connection;
    bench_.events.erase(event);
    return;
  }
  fail("no connection was accepted");
}

void Player::act_send(const std::vector<std::string>& words) {
  const uint32_t length = number(words[1]);
  const bool queued = words[0] == "write"
                          ? bench_.send_from_slot(peer_.connection, peer_.queued, length)
                          : bench_.send(peer_.connection, peer_.queued, length);
  if (!queued) return fail("the send queue is full, or closed");
  peer_.queued += length;
  if (words.size() > 2 && words[2] == "close") bench_.stack.close(bench_.now, peer_.connection);
}

void Player::act_read(const std::vector<std::string>& words) {
  const Bytes readable = bench_.stack.readable(peer_.connection);
  verify(readable);
  const size_t count = words[1] == "all" ? readable.size() : number(words[1]);
  if (count > readable.size()) {
    return fail("only " + std::to_string(readable.size()) + " bytes are readable");
  }
  bench_.stack.consume(peer_.connection, count);
  peer_.received += count;
}

void Player::act_peer(const std::vector<std::string>& words) {
  Peer next;
  if (words[0] == "peer") {
    next.port = static_cast<uint16_t>(number(words[2]));
    next.local_port = static_cast<uint16_t>(number(words[4]));
  } else {
    next.port = peer_.port;
    next.local_port = peer_.local_port;
    next.isn = peer_.isn + number(words[2]);
  }
  peer_ = next;
}

void Player::act_icmp(const std::vector<std::string>& words) {
  if (words.size() != 5) return fail("icmp mtu M seq S");
  std::array<std::byte, 8> quoted{};
  store_be16(&quoted[0], peer_.local_port);
  store_be16(&quoted[2], peer_.port);
  store_be32(&quoted[4], peer_.local_isn + number(words[4]));
  const tcp::Flow from = flow();
  bench_.stack.handle_path_mtu(bench_.now, {.remote = from.remote,
                                            .quoted_tcp = quoted,
                                            .mtu = static_cast<uint16_t>(number(words[2])),
                                            .local = from.local});
}

void Player::act_flood(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 3; i < words.size(); ++i) text += words[i] + " ";
  PacketSpec packet;
  if (words.size() < 5 || !parse_packet_text(text, packet)) return fail("flood N < PACKET");
  for (uint32_t i = number(words[1]); i > 0; --i) inject_one(packet);
}

void Player::act_syn_flood(uint32_t count) {
  const Peer saved = peer_;
  PacketSpec syn;
  syn.flags = wire::tcp_flag::syn;
  syn.window = 65535;
  for (uint32_t i = 0; i < count; ++i) {
    peer_ = Peer();
    peer_.port = static_cast<uint16_t>(10'000 + i);
    inject_one(syn);
    while (!bench_.sent.empty()) bench_.sent.pop_front();
  }
  peer_ = saved;
}

void Player::act_expect(const std::vector<std::string>& words) {
  if (words.size() < 3) return fail("expect what?");
  const bool counts_packets = words[1] == "packets" || words[2] == "packet";
  if (!counts_packets && !bench_.sent.empty()) {
    return fail("before this step the stack sent " + to_text(describe(bench_.sent.front())));
  }
  if (words[1] == "no" && words[2] == "packet") {
    if (bench_.sent.empty()) return;
    return fail("the stack sent " + to_text(describe(bench_.sent.front())));
  }
  if (words[1] == "no" || words[1] == "event") return expect_event(words);
  expect_number(words);
  if (counts_packets) {
    while (!bench_.sent.empty()) static_cast<void>(take_sent());
  }
}

void Player::expect_event(const std::vector<std::string>& words) {
  constexpr std::array kinds = {"accepted", "acknowledged", "peer_closed", "deadline", "closed"};
  constexpr std::array reasons = {"none", "finished", "reset_by_peer", "aborted", "timed_out"};
  std::string seen;
  for (auto event = bench_.events.begin(); event != bench_.events.end(); ++event) {
    const std::string kind = kinds[static_cast<size_t>(event->kind)];
    const std::string reason = reasons[static_cast<size_t>(event->reason)];
    if (words[1] == "no") {
      if (event->kind != tcp::EventKind::acknowledged) return fail("there is an event " + kind);
      continue;
    }
    seen += " " + kind + " " + reason;
    if (kind != words[2] || (words.size() > 3 && reason != words[3])) continue;
    bench_.events.erase(event);
    return;
  }
  if (words[1] != "no") fail("no such event; there were:" + seen);
}

uint64_t Player::measure(const std::string& what) {
  const tcp::Usage usage = bench_.stack.usage();
  if (what == "packets") return bench_.sent.size();
  if (what == "received") return peer_.received;
  if (what == "connections") return usage.connections;
  if (what == "half_open") return usage.half_open;
  if (what == "time_wait") return usage.time_wait;
  if (what == "receive_buffers") return usage.receive_buffers;
  if (what == "send_queues") return usage.send_queues;
  if (what == "fast_open") return usage.fast_open;
  if (what == "stalled") return usage.stalled;
  if (what == "pins") return bench_.pins.total();
  if (what == "window") return peer_.window_bytes;
  for (size_t i = 0; i < stats::counter_count; ++i) {
    const stats::Counter counter = stats::counter_at(i);
    if (stats::row(counter).name == what) return bench_.counters.get(counter);
  }
  if (peer_.connection.is_none()) {
    fail("there is no connection yet");
    return 0;
  }
  const tcp::Info info = bench_.stack.info(peer_.connection);
  if (what == "cwnd") return info.cwnd_bytes;
  if (what == "ssthresh") return info.ssthresh_bytes;
  if (what == "mss") return info.mss;
  if (what == "peer_window") return info.peer_window_bytes;
  if (what == "in_flight") return info.in_flight_bytes;
  if (what == "queued") return info.bytes_queued;
  if (what == "unread") return info.bytes_unread;
  fail("unknown quantity " + what);
  return 0;
}

void Player::expect_number(const std::vector<std::string>& words) {
  const bool below = words[2] == "below";
  const bool above = words[2] == "above";
  if ((below || above) && words.size() < 4) return fail("a number is missing");
  const uint64_t limit = number(words[below || above ? 3 : 2]);
  const uint64_t value = measure(words[1]);
  if (below ? value < limit : above ? value > limit : value == limit) return;
  fail(words[1] + " is " + std::to_string(value));
}

}  // namespace sluice::packet
