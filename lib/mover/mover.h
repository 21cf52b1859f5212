// Mover: moves frames and content between this node's arena and its peers', over one transport.
// Carries out what replica/mover.h says, which is the contract: read it first.
//
//   stream::open   kernel TCP, everywhere               lib/stream
//   rdma::open     verbs, where there is a device       lib/rdma
//
// One thread uses a Mover, the replica's; it may be made by another. Its turn:
//
//   while (node.poll_post(now, post)) mover_of(post).submit(post);
//   for (Mover& each : movers) while (each.poll(event)) node.handle(now, event);     bounded
//   if nothing was done: if every prepare_to_sleep() says true, poll(2) on every ready_fd()
//
// A mover keeps its own time-outs (dials, handshakes, closes): ready_fd() becomes readable for
// them, too. It allocates while links come and go, never while they move bytes.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/time.h"
#include "content/arena_view.h"
#include "replica/mover.h"

namespace sluice::mover {

struct Options {
  content::ArenaView arena;    // the extents of posts lie in its chunks
  MutableBytes region;         // the whole mapping that they are part of, for registration
  uint64_t page_bytes = 4096;  // of that mapping

  std::string listen;  // HOST:PORT, or :PORT for every address; empty: only dials
  std::string local;   // address to dial from; empty: as the route says
  uint32_t lanes = 2;  // data connections, or queue pairs, of a link
  uint32_t links_max = replica::links_max;
  Duration dial_patience = 5_s;  // from Dial to LinkUp, or DialFailed

  std::string device;  // RDMA: use this one (as `rdma link` names it); empty: as the IP route says
  bool may_be_absent = false;         // RDMA: open without a device, and use one when it comes
  bool use_memory_windows = true;     // RDMA: false: a memory region for each grant
  bool trust_memory_windows = false;  // RDMA: even a device known not to keep to their bounds
  bool use_zero_copy = true;          // TCP: MSG_ZEROCOPY, for as long as the kernel does not copy
};

/// What a mover did since it was made. Gauges say so.
struct Counts {
  uint64_t frames_sent = 0;
  uint64_t frames_received = 0;
  uint64_t writes_done = 0;
  uint64_t write_bytes_done = 0;
  uint64_t writes_landed = 0;
  uint64_t write_bytes_landed = 0;
  // By the addresses that the kernel or the device was given, told apart where they are given:
  uint64_t bytes_taken = 0;      // content that it reads where it lies in the arena
  uint64_t bytes_placed = 0;     // content that it put to its own place in the arena
  uint64_t bytes_copied = 0;     // content that went from, or landed by way of, anywhere else
  uint64_t bytes_drained = 0;    // content received for a revoked grant, and thrown away
  uint64_t bytes_zero_copy = 0;  // TCP: sent by MSG_ZEROCOPY, and not copied by the kernel
  uint64_t dials = 0;
  uint64_t dials_failed = 0;
  uint64_t accepted = 0;  // links that peers dialled and that came up
  uint64_t refused = 0;   // connections of peers turned away: too many, or malformed, or too slow
  uint64_t links_up = 0;  // gauge
  uint64_t grants = 0;    // gauge: alive, not revoked
  uint64_t devices = 0;   // gauge: RDMA devices in use
  std::array<uint64_t, 7> ends{};  // links that ended, by replica::LinkEnd
};

/// Whether all of these bytes lie in the arena's chunks.
[[nodiscard]] inline bool lies_in(const content::ArenaView& arena, const void* at, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(arena.chunks);
  const auto end = begin + uint64_t{arena.chunk_count} * arena.chunk_bytes;
  const auto first = reinterpret_cast<uintptr_t>(at);
  return first >= begin && first <= end && bytes <= end - first;
}

class Mover {
 public:
  /// Ends every link at once, without events; waits until nothing writes into the arena any more.
  virtual ~Mover() = default;
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  /// Takes the post, always: the limits of replica/mover.h bound what may be under way. It starts
  /// now, or when the link can take it.
  /// Requires: those limits (the Node's own duty, whatever a peer does).
  virtual void submit(const replica::Post& post) = 0;
  /// Does what can be done without waiting. Returns false when there is no event.
  [[nodiscard]] virtual bool poll(replica::LinkEvent& out) = 0;

  /// Readable (POLLIN) when poll() may have something to do. The same for the mover's whole life.
  [[nodiscard]] virtual int ready_fd() const = 0;
  /// Returns false where something is there already: poll() then, and do not sleep. After true,
  /// what comes makes ready_fd() readable.
  [[nodiscard]] virtual bool prepare_to_sleep() = 0;

  [[nodiscard]] virtual const Counts& counts() const = 0;
  /// One line for people about something that went wrong, with its likely cure: why a link ended,
  /// which completion failed. At most 64 wait, the newest are dropped. Returns false: no more.
  [[nodiscard]] virtual bool poll_note(std::string& out) = 0;
  /// One line for the start-up report: what moves bytes, and how memory is granted.
  [[nodiscard]] virtual const std::string& description() const = 0;
  /// Where it listens, with the port that the kernel chose for port 0; empty: it does not.
  [[nodiscard]] virtual const std::string& listening() const = 0;

 protected:
  Mover() = default;
};

}  // namespace sluice::mover
