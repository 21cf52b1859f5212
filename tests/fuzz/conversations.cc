// An engine and reference clients in conversation, with everything that the input can do to them:
// bad links, stalls, aborts, time, and forged segments in both directions.
//
// Two implementations that share no code judge each other. Whatever happens: no ASSERT fails, no
// table outgrows its bound, every byte that a client takes is the right one, and after the end
// nothing is held. A conversation into which nobody forged, over a link that is not too bad, gets
// all of its answers, and its client finds nothing wrong with what the engine sent.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "input.h"
#include "world.h"

namespace sluice::sim {
namespace {

constexpr uint32_t connections_max = 6;
constexpr size_t clients_max = 12;
constexpr uint64_t file_bytes = 60'000;
constexpr uint64_t file_seed = 7;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz conversations: %s\n", what);
  std::abort();
}

using fuzz::Input;

// Mostly near 0, sometimes anywhere.
uint32_t distance(Input& in) {
  const uint8_t kind = in.byte();
  if (kind < 100) return 0;
  if (kind < 160) return in.byte();
  if (kind < 200) return static_cast<uint32_t>(-int32_t{in.byte()});
  if (kind < 240) return uint32_t{in.byte()} * 256;
  return uint32_t{in.byte()} << 24 | uint32_t{in.byte()} << 12 | in.byte();
}

WorldOptions draw(Input& in) {
  WorldOptions options;
  const uint8_t choice = in.byte();
  options.seed = in.byte();
  options.ipv6 = (choice & 1) != 0;
  options.chunk_bytes = (choice & 2) != 0 ? 4096 : 65'536;
  options.chunk_count = 3 + (choice >> 2 & 3);
  options.head_slots = 4 + (choice >> 4);
  options.connections_max = connections_max;
  options.link.delay_ns = 1'000'000 * (1 + in.byte() % 40);
  options.link.loss_per_10000 = in.byte() % 4 * 100u;
  options.link.reorder_per_10000 = in.byte() % 4 * 100u;
  options.link.duplicate_per_10000 = in.byte() % 4 * 100u;
  return options;
}

// One client, what it asked for, and what it has read of the answers.
class Talk {
 public:
  explicit Talk(ReferenceClient& client) : client_(&client) {}

  void ask(int64_t now) {
    if (closed_) return;
    client_->send(now, "GET /f HTTP/1.1\r\nHost: s\r\n\r\n");
    ++asked_;
  }
  void close(int64_t now) {
    if (!closed_) client_->close(now);
    closed_ = true;
  }
  void abort(int64_t now) {
    client_->abort(now);
    closed_ = disturbed_ = true;
  }
  void disturb() { disturbed_ = true; }
  [[nodiscard]] bool is_disturbed() const { return disturbed_; }
  [[nodiscard]] ReferenceClient& client() { return *client_; }
  [[nodiscard]] bool is_answered() const { return answered_ == asked_ || refused_; }

  // Reads on where it stopped.
  void read() {
    const std::string& got = client_->received();
    for (;;) {
      if (left_ == 0 && !in_body_) {
        const size_t end = got.find("\r\n\r\n", at_);
        if (end == std::string::npos) return;
        require(got.compare(at_, 9, "HTTP/1.1 ") == 0, "what follows is not a response");
        const bool found = got.compare(at_ + 9, 3, "200") == 0;
        const size_t field = got.find("Content-Length: ", at_);
        require(field < end, "no Content-Length");
        left_ = std::strtoull(got.c_str() + field + 16, nullptr, 10);
        require(!found || left_ == file_bytes, "another length");
        refused_ = refused_ || !found;
        is_file_ = found;
        at_ = end + 4;
        body_at_ = at_;
        in_body_ = true;
      }
      const uint64_t have = std::min<uint64_t>(left_, got.size() - at_);
      for (uint64_t i = 0; is_file_ && i < have; ++i) {
        require(static_cast<uint8_t>(got[at_ + i]) == pattern_byte(file_seed, at_ - body_at_ + i),
                "a wrong byte");
      }
      at_ += have;
      left_ -= have;
      if (left_ > 0) return;
      in_body_ = false;
      ++answered_;
      require(answered_ <= asked_, "an answer that nobody asked for");
    }
  }

 private:
  ReferenceClient* client_;
  uint32_t asked_ = 0, answered_ = 0;
  size_t at_ = 0, body_at_ = 0;
  uint64_t left_ = 0;
  bool in_body_ = false, is_file_ = false;
  bool closed_ = false, disturbed_ = false, refused_ = false;
};

class Conversations {
 public:
  explicit Conversations(Input& in) : world_(draw(in)) {
    world_.content().add_file("f", file_bytes, file_seed);
  }

  void step(Input& in) {
    const uint8_t operation = in.byte();
    if (operation < 30 || talks_.empty()) {
      connect(in);
    } else {
      act(in, operation, talks_[in.byte() % talks_.size()]);
    }
    check();
  }

  void end() {
    world_.run_for(30'000'000'000);
    check();
    bool honest = true;
    for (Talk& talk : talks_) {
      talk.client().resume(world_.now_ns());
      honest = honest && !talk.is_disturbed();
    }
    // Nobody was forged: more clients than connections wait for a place, and get it.
    if (honest && talks_.size() <= connections_max) {
      const bool done = world_.run_until(
          [&] {
            return std::all_of(talks_.begin(), talks_.end(),
                               [](const Talk& talk) { return talk.is_answered(); }) ||
                   (check(), false);
          },
          300'000'000'000);
      require(done, "an honest client has no answer");
      require(world_.violations().empty(), world_.violations().c_str());
    }
    for (Talk& talk : talks_) talk.client().abort(world_.now_ns());
    static_cast<void>(
        world_.run_until([&] { return world_.engine().is_drained(); }, 300'000'000'000));
    require(world_.engine().is_drained(), "a connection is left");
    world_.run_for(1'000'000'000);
    const engine::Snapshot left = world_.engine().snapshot();
    require(left.pins == 0 && left.head_slots_in_use == 0, "pins or head slots are left");
    require(left.objects_in_use == 0 && left.lookups_open == 0, "references are left");
    require(left.send_queues == 0 && left.receive_buffers == 0, "queues or buffers are left");
  }

 private:
  void connect(Input& in) {
    if (talks_.size() == clients_max) return;
    const uint8_t choice = in.byte();
    talks_.emplace_back(world_.connect({.mss = (choice & 1) != 0 ? uint16_t{536} : uint16_t{1460},
                                        .window_scale = static_cast<uint8_t>(choice >> 5),
                                        .window_bytes = (choice & 2) != 0 ? 4'000u : 100'000u,
                                        .sack = (choice & 4) != 0,
                                        .timestamps = (choice & 8) != 0,
                                        .ecn = (choice & 16) != 0}));
    talks_.back().ask(world_.now_ns());
  }

  void act(Input& in, uint8_t operation, Talk& talk) {
    const int64_t now = world_.now_ns();
    if (operation < 50) return talk.ask(now);
    if (operation < 60) return talk.client().stall();
    if (operation < 80) return talk.client().resume(now);
    if (operation < 90) return talk.close(now);
    if (operation < 95) return talk.abort(now);
    if (operation < 160) return world_.run_for(int64_t{1} << (in.byte() % 34));
    if (operation < 240) return forge_to_engine(in, talk);
    forge_to_client(in, talk);
  }

  void forge_to_engine(Input& in, Talk& talk) {
    talk.disturb();
    world_.inject(forged(in, world_.client_address(), world_.server_address(), talk.client().port(),
                         80, talk.client().snd_nxt(), talk.client().rcv_nxt()));
  }

  void forge_to_client(Input& in, Talk& talk) {
    talk.disturb();
    const Frame frame =
        forged(in, world_.server_address(), world_.client_address(), 80, talk.client().port(),
               talk.client().rcv_nxt(), talk.client().snd_nxt());
    talk.client().handle_frame(world_.now_ns(), frame);
  }

  // A segment without payload, somewhere near where the conversation is.
  static Frame forged(Input& in, const HostAddress& from, const HostAddress& to, uint16_t port,
                      uint16_t to_port, uint32_t sequence, uint32_t acknowledged) {
    const uint8_t options = in.byte() % 11 * 4;
    Frame frame(14 + (from.is_ipv6 ? 40u : 20u) + 20 + options);
    uint8_t* tcp = put_headers(from, to, 20u + options, frame);
    put16(tcp, port);
    put16(tcp + 2, to_port);
    put32(tcp + 4, sequence + distance(in));
    put32(tcp + 8, acknowledged + distance(in));
    tcp[12] = static_cast<uint8_t>((20 + options) / 4 << 4);
    const uint8_t flags = in.byte();
    tcp[13] = flags < 128 ? 16 : in.byte();  // mostly an ACK
    put16(tcp + 14, uint32_t{in.byte()} << (in.byte() % 9));
    for (uint8_t i = 0; i < options; ++i) tcp[20 + i] = in.byte();
    put16(tcp + 16, transport_checksum(frame.data() + 14, from.is_ipv6, 6, tcp, 20u + options));
    return frame;
  }

  void check() {
    for (Talk& talk : talks_) talk.read();
    const engine::Snapshot now = world_.engine().snapshot();
    require(now.connections <= connections_max, "more connections than there may be");
    require(now.send_queues <= connections_max, "more send queues than there may be");
    require(now.receive_buffers <= connections_max, "more receive buffers than there may be");
    require(now.time_wait <= 64, "more of TIME-WAIT than there may be");
  }

  World world_;
  std::vector<Talk> talks_;
};

}  // namespace
}  // namespace sluice::sim

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::Input in(data, size);
  sluice::sim::Conversations conversations(in);
  for (int i = 0; i < 300 && !in.empty(); ++i) conversations.step(in);
  conversations.end();
  return 0;
}
