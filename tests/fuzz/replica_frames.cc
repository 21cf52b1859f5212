// Fuzz target: bytes of strangers and of peers as frames, into a whole Node. Whatever they are: no
// ASSERT fails, nothing leaks, and what the Node keeps of a link does not grow without bound.
//
// The first byte chooses the Node's mode. Then operations, one byte each (modulo 8), and what they
// need:
//   0  a link comes up                      one byte: transport, and who dialled
//   1  the next frames of a handshake, done right: the link is authenticated
//   2  a frame as it is, on the last link   up to 256 bytes
//   3  a frame with kind and body from the input, header and tag right     kind, up to 224 bytes
//   4  time passes                          50 ms x one byte
//   5  a Want of the generation that is held, fields from the input        24 bytes
//   6  an event of the mover                kind and two bytes
//   7  a link goes down
//
// The input's posts (grants, writes) are answered as a mover would, at once.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

#include "input.h"
#include "replica/link.h"
#include "replica/node.h"
#include "replication/plain_digests.h"

namespace {

using namespace sluice;
using namespace sluice::replica;

constexpr uint32_t chunk_bytes = 4096;
constexpr uint32_t chunk_count = 16;

using fuzz::Input;

void fill(Input& input, MutableBytes out) {
  std::ranges::copy(input.take(out.size()), out.begin());
}

NodeConfig config_of(NodeId self) {
  NodeConfig config;
  config.self = self;
  config.epoch = 5;
  config.name = "node";
  config.address = "node:1";
  config.cluster_key.assign(32, std::byte{3});
  config.nonce_key = {1, 2};
  config.digests = sim::plain_digests();
  config.chunk_count = chunk_count;
  config.chunk_bytes = chunk_bytes;
  config.hold_bytes_max = chunk_count * chunk_bytes / 2;
  config.fetches_max = 8;
  // Each input lets minutes pass: at the usual rate it would do little but scrub its two pieces.
  config.scrub_bytes_per_s = 2 * chunk_bytes;
  return config;
}

// One Node; the fuzzer is its mover, its Store, and the peer at the end of every link.
class Harness {
 public:
  explicit Harness(uint8_t mode)
      : memory_(chunk_count * chunk_bytes), pins_(chunk_count, 0), peer_config_(config_of({2})) {
    NodeConfig config = config_of({1});
    config.has_registry = (mode & 1) != 0;
    if ((mode & 2) != 0) config.peers = {"peer:1"};
    arena_ = {memory_.data(), chunk_count, chunk_bytes, nullptr, 0};
    node_ = std::make_unique<Node>(config, arena_, pins_, counters_);
    publish();
    settle();
  }

  void run(Input& input) {
    for (uint32_t step = 0; step < 2'000 && !input.empty(); ++step) {
      operate(input);
      settle();
    }
    // A peer cannot leave anything behind.
    while (!ends_.empty()) take_down(0);
    pass(120_s);
    ASSERT(pins_.total() == 0 || held_);
  }

 private:
  struct End {
    LinkUp up;
    Link link;  // the peer's side of it
    std::deque<Frame> to_peer;
    std::vector<uint32_t> writes;
  };

  void publish() {
    // Something to ask for: one generation, held.
    (void)node_->publish(now_, 1'000, "file", 1);
  }
  void operate(Input& input) {
    switch (input.byte() % 8) {
      case 0:
        return come_up(input.byte());
      case 1:
        return shake_hands();
      case 2: {
        Frame frame{};
        fill(input, frame);
        return give(frame);
      }
      case 3:
        return give_forged(input);
      case 4:
        return pass(50_ms * int64_t{input.byte()});
      case 5:
        return want(input);
      case 6:
        return event(input);
      case 7:
        if (!ends_.empty()) take_down(ends_.size() - 1);
        return;
    }
  }

  void come_up(uint8_t how) {
    if (ends_.size() >= 40) return;
    End end;
    const auto transport = static_cast<Transport>(how & 1);
    end.up = {.link = {transport, slot_++ % links_max, ++serial_},
              .lanes = 2,
              .write_bytes_max = chunk_bytes * ((how & 4) != 0 ? 0u : 1u)};
    for (const End& other : ends_) {
      if (other.up.link.slot == end.up.link.slot && other.up.link.transport == transport) return;
    }
    const auto dial = std::find_if(dials_.begin(), dials_.end(),
                                   [&](const Dial& each) { return each.transport == transport; });
    if ((how & 2) != 0 && dial != dials_.end()) {
      end.up.dialled = true;
      end.up.dial = dial->dial;
      dials_.erase(dial);
    }
    Hello hello;
    hello.node = {uint64_t{2} + (how >> 6)};
    hello.epoch = 5 + ((how >> 5) & 1u);
    hello.nonce[0] = static_cast<std::byte>(serial_);
    hello.chunk_bytes = chunk_bytes;
    LinkUp theirs = end.up;
    theirs.dialled = !end.up.dialled;
    theirs.write_bytes_max = chunk_bytes;
    end.link.open(now_, theirs, hello);
    ends_.push_back(std::move(end));
    node_->handle(now_, ends_.back().up);
  }

  void shake_hands() {
    for (int round = 0; round < 8 && !ends_.empty(); ++round) {
      End& end = ends_.back();
      NodeConfig config = peer_config_;
      config.self = {};
      Body body;
      while (!end.to_peer.empty()) {
        const Frame frame = end.to_peer.front();
        end.to_peer.pop_front();
        if (end.link.handle_frame(now_, frame, config, body) == Link::Input::greeted) {
          end.link.accept(config);
        }
      }
      for (Post post; end.link.poll_post(now_, post);) {
        if (const auto* frame = std::get_if<SendFrame>(&post)) give(frame->frame);
      }
      settle();
    }
  }
  void give(const Frame& frame) {
    if (!ends_.empty()) node_->handle(now_, FrameArrived{ends_.back().up.link, frame});
  }
  // As one would send it who has the session key.
  void give_forged(Input& input) {
    if (ends_.empty()) return;
    const uint8_t kind = input.byte();
    std::array<std::byte, frame_body_bytes> bytes{};
    fill(input, bytes);
    FrameHeader header;
    Body body;
    Frame frame;
    emit({}, Credit{}, public_frame_key, frame);
    frame[5] = static_cast<std::byte>(kind % 13);
    std::copy(bytes.begin(), bytes.end(), frame.begin() + 24);
    const uint64_t tag = siphash24(public_frame_key, Bytes(frame).first(248));
    std::memcpy(&frame[248], &tag, 8);
    const bool is_sound = parse(frame, public_frame_key, header, body) == FrameError::none;
    if (is_sound && ends_.back().link.can_send()) {
      Post post;
      ends_.back().link.send(body, post);
      give(std::get<SendFrame>(post).frame);
    } else {
      give(frame);
    }
  }
  void want(Input& input) {
    if (ends_.empty() || !ends_.back().link.can_send()) return;
    Want want;
    want.want = input.byte();
    want.generation = {generation_.number + (input.byte() == 7), generation_.publisher};
    want.piece = input.byte() % 4;
    want.length_bytes = input.byte() < 200 ? chunk_bytes : 77;
    want.window = {input.byte(), input.byte(), input.byte() % 3u, chunk_bytes};
    Post post;
    ends_.back().link.send(want, post);
    give(std::get<SendFrame>(post).frame);
  }
  void event(Input& input) {
    if (ends_.empty()) return;
    const LinkId link = ends_[input.byte() % ends_.size()].up.link;
    const uint32_t number = input.byte();
    switch (input.byte() % 5) {
      case 0:
        return node_->handle(now_, Landed{link, number, chunk_bytes});
      case 1:
        return node_->handle(now_, Granted{link, number, {}});
      case 2:
        return node_->handle(now_, Landed{{link.transport, number, 1}, number, 1});
      case 3:
        return node_->handle(now_, FrameArrived{{link.transport, number, 9}, {}});
      case 4:
        return node_->handle(now_, TransportState{link.transport, number % 2 == 0, "gone"});
    }
  }
  void take_down(size_t index) {
    const LinkId link = ends_[index].up.link;
    ends_.erase(ends_.begin() + static_cast<ptrdiff_t>(index));
    node_->handle(now_, LinkDown{link, LinkEnd::closed_by_peer});
  }
  void pass(Duration time) {
    const Instant until = now_ + time;
    for (uint32_t turns = 0; turns < 300; ++turns) {
      const Instant next = node_->next_timeout();
      if (next > until) break;
      now_ = std::max(next, now_ + 1_ms);
      node_->handle_timeout(now_);
      settle();
    }
    now_ = std::max(now_, until);
    node_->handle_timeout(now_);
  }

  // What the Node asks of its mover, Store and Overlay, answered.
  void settle() {
    for (uint32_t round = 0; round < 100; ++round) {
      bool any = false;
      for (Post post; node_->poll_post(now_, post); any = true) answer(post);
      for (content::ToStore message; node_->poll_message(message); any = true) answer(message);
      for (ToOverlay message; node_->poll_overlay(message); any = true) {
        if (const auto* describe = std::get_if<Describe>(&message)) {
          generation_ = describe->generation;
        }
      }
      for (RegistryRequest request; node_->poll_registry(request);) {
        std::visit(
            [&](const auto& one) {
              node_->handle(now_, RegistryAnswer{one.request, RegistryOutcome::unavailable});
            },
            request);
      }
      if (!any) return;
    }
  }
  void answer(const Post& post) {
    if (const auto* dial = std::get_if<Dial>(&post)) {
      dials_.push_back(*dial);
      return;
    }
    const auto find = [&](const LinkId& link) {
      return std::find_if(ends_.begin(), ends_.end(),
                          [&](const End& end) { return end.up.link == link; });
    };
    if (const auto* frame = std::get_if<SendFrame>(&post)) {
      const auto end = find(frame->link);
      if (end == ends_.end()) return;
      end->to_peer.push_back(frame->frame);
      // No more than there are receives, as long as the peer has not credited any.
      ASSERT(end->to_peer.size() <= 4 * frames_in_flight_max);
    } else if (const auto* close = std::get_if<Close>(&post)) {
      const auto end = find(close->link);
      if (end != ends_.end()) take_down(static_cast<size_t>(end - ends_.begin()));
    } else if (const auto* write = std::get_if<Write>(&post)) {
      ASSERT(write->source.length_bytes <= write->window.length_bytes);
      ASSERT(pins_.pins(write->source.chunk) > 0);
      node_->handle(now_, WriteDone{write->link, write->write});
    } else if (const auto* grant = std::get_if<Grant>(&post)) {
      node_->handle(now_, Granted{grant->link, grant->grant, {}});
    } else if (const auto* revoke = std::get_if<Revoke>(&post)) {
      node_->handle(now_, Revoked{revoke->link, revoke->grant});
    }
  }
  // A Store with one file of two pieces, in the first two chunks.
  void answer(const content::ToStore& message) {
    if (const auto* lookup = std::get_if<content::Lookup>(&message)) {
      content::LookupAnswer found{lookup->ticket, content::LookupStatus::found, {}};
      found.info = {{1, 1}, 2 * chunk_bytes, 1, 1};
      node_->handle(now_, found);
    } else if (const auto* need = std::get_if<content::NeedPiece>(&message)) {
      held_ = true;
      node_->handle(now_, content::PieceReady{
                              need->object,
                              need->piece,
                              {content::ChunkIndex(need->piece % chunk_count), 0, chunk_bytes}});
    }
  }

  std::vector<std::byte> memory_;
  content::ArenaView arena_;
  content::ChunkPins pins_;
  stats::Counters counters_;
  NodeConfig peer_config_;
  std::unique_ptr<Node> node_;
  std::vector<End> ends_;
  std::vector<Dial> dials_;
  GenerationId generation_;
  Instant now_ = Instant::from_ns(1'000'000'000);
  uint32_t slot_ = 0;
  uint32_t serial_ = 0;
  bool held_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  Harness harness(input.byte());
  harness.run(input);
  return 0;
}
