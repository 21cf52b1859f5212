#include "fetching.h"

#include <algorithm>
#include <cstring>

#include "digest/digest.h"
#include "monotonic.h"

namespace sluice::perf {
namespace {

constexpr uint32_t faulty_piece = 10;
constexpr size_t poison_bytes = 64;

}  // namespace

void fill_sources(const content::ArenaView& arena) {
  for (uint32_t i = 0; i < source_chunks; ++i) {
    uint64_t value = i + 1;
    std::byte* const to = arena.chunks + size_t{i} * arena.chunk_bytes;
    for (size_t at = 0; at + 8 <= arena.chunk_bytes; at += 8) {
      value = value * 6364136223846793005ULL + 1442695040888963407ULL;
      const uint64_t mixed = value ^ value >> 29;
      std::memcpy(to + at, &mixed, 8);
    }
  }
}

Fetching::Fetching(mover::Mover& mover, const content::ArenaView& arena, const replica::LinkUp& up)
    : mover_(mover), arena_(arena), link_(up.link), dialled_(up.dialled) {
  for (uint32_t i = 0; i < replica::writes_in_flight_max; ++i) writes_free_.push_back(i);
}

content::Extent Fetching::landing(uint32_t grant) const {
  return {content::ChunkIndex(source_chunks + grant), 0, start_.write_bytes};
}

content::Extent Fetching::source(uint32_t piece) const {
  return {content::ChunkIndex(piece % source_chunks), 0, start_.write_bytes};
}

void Fetching::begin(const Start& start) {
  send({.kind = Kind::start, .start = start});
  run(start);
}

void Fetching::run(const Start& start) {
  start_ = start;
  begun_ = true;
  for (uint32_t i = 0; i < source_chunks; ++i) {
    source_crcs_.push_back(digest::crc32c(arena_.bytes(source(i))));
  }
  began_ = monotonic_now();  // what is compared with is no part of the transfer
  const uint32_t window = std::min(start.window, start.pieces);
  for (uint32_t i = 0; fetches() && i < window; ++i) ask(i);
  finish_if_done();
}

// The next piece, into this grant's chunk.
void Fetching::ask(uint32_t grant) {
  const MutableBytes memory = arena_.bytes(landing(grant));
  // What does not arrive is not taken for what arrived there before.
  std::memset(memory.data(), 0x5a, poison_bytes);
  std::memset(memory.data() + memory.size() - poison_bytes, 0x5a, poison_bytes);
  piece_of_[grant] = asked_++;
  landed_[grant] = false;
  mover_.submit(replica::Grant{link_, grant, landing(grant)});
}

void Fetching::handle(const replica::Granted& event) {
  const bool takes_back = start_.fault == Fault::revoked && piece_of_[event.grant] == faulty_piece;
  if (takes_back) mover_.submit(replica::Revoke{link_, event.grant});
  send({.kind = Kind::want, .piece = piece_of_[event.grant], .window = event.window});
}

void Fetching::handle(const replica::Landed& event) {
  for (uint32_t grant = 0; grant < start_.window; ++grant) {
    if (piece_of_[grant] != event.immediate || landed_[grant]) continue;
    landed_[grant] = true;
    mover_.submit(replica::Revoke{link_, grant});
    return;
  }
  ++wrong_;  // nobody asked for it
}

void Fetching::handle(const replica::Revoked& event) {
  if (!landed_[event.grant]) return;  // the fault's
  if (start_.verify) {
    const uint32_t expected = source_crcs_[piece_of_[event.grant] % source_chunks];
    if (digest::crc32c(arena_.bytes(landing(event.grant))) != expected) ++wrong_;
  }
  ++verified_;
  if (asked_ < start_.pieces) ask(event.grant);
  finish_if_done();
}

void Fetching::finish_if_done() {
  if (told_finished_ || !fetched_all()) return;
  told_finished_ = true;
  send({.kind = Kind::finished});
}

void Fetching::handle(const replica::FrameArrived& event) {
  Message message;
  std::memcpy(&message, event.frame.data(), sizeof message);
  if (message.kind == Kind::start) {
    run(message.start);
  } else if (message.kind == Kind::finished) {
    peer_finished_ = true;
  } else if (writes_free_.empty()) {
    wants_waiting_.push_back(message);
  } else {
    give(message);
  }
}

void Fetching::give(const Message& want) {
  const uint32_t write = writes_free_.back();
  writes_free_.pop_back();
  replica::Window window = want.window;
  const bool wrong = wants_++ == faulty_piece;
  if (wrong && start_.fault == Fault::wrong_key) window.key ^= 0x5500;
  if (wrong && start_.fault == Fault::beyond) window.address += start_.write_bytes;
  mover_.submit(replica::Write{link_, write, source(want.piece), window, want.piece});
}

void Fetching::handle(const replica::WriteDone& event) {
  ++given_;
  writes_free_.push_back(event.write);
  if (wants_waiting_.empty()) return;
  const Message next = wants_waiting_.front();
  wants_waiting_.erase(wants_waiting_.begin());
  give(next);
}

void Fetching::send(const Message& message) {
  static_assert(sizeof(Message) <= replica::frame_bytes);
  replica::SendFrame frame{link_, {}};
  std::memcpy(frame.frame.data(), &message, sizeof message);
  mover_.submit(frame);
}

}  // namespace sluice::perf
