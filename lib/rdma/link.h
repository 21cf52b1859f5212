// Link: one control queue pair and its data queue pairs to one peer, and all that is posted on
// them. Owned by RdmaMover.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/index_pool.h"
#include "base/time.h"
#include "mover/endpoint.h"
#include "rdma/device.h"
#include "rdma/introduction.h"

namespace sluice::rdma {

inline constexpr uint32_t frame_slots = 2 * replica::frames_in_flight_max;
// A landing is posted again as soon as it is seen: the spare ones are for the moment between.
inline constexpr uint32_t landings = replica::writes_in_flight_max + 16;
// On one lane at most: writes, and a bind and an invalidation for each grant.
inline constexpr uint32_t lane_requests = replica::writes_in_flight_max + 2 * replica::grants_max;

/// What a completion is of: the request's wr_id is kind << 56 | lane << 48 | number. Lane 255: the
/// control queue pair.
enum class Request : uint8_t { frame_out = 1, frame_in, write, landing, bind, invalidate };
inline constexpr uint8_t control_lane = 255;
[[nodiscard]] constexpr uint64_t request_id(Request kind, uint8_t lane, uint32_t number) {
  return uint64_t{static_cast<uint8_t>(kind)} << 56 | uint64_t{lane} << 48 | number;
}

/// One queue pair and its rdma_cm identifier. Its address is the identifier's context.
struct QueuePair {
  uint32_t link = 0;  // slot
  Role role = Role::control;
  uint8_t lane = control_lane;
  rdma_cm_id* id = nullptr;
  ibv_qp* pair = nullptr;
  bool established = false;
  uint32_t sends = 0;     // posted, not completed
  uint32_t receives = 0;  // posted, not completed
  // Gathered until the end of the turn: one doorbell.
  uint32_t gathered = 0;
  std::array<ibv_send_wr, lane_requests> requests;
  std::array<ibv_sge, lane_requests> parts;
};

struct GrantSlot {
  enum class State : uint8_t { free, binding, open, closing };
  State state = State::free;
  uint8_t lane = 0;
  content::Extent extent;
  replica::Window window;
  ibv_mw* memory_window = nullptr;  // kept from grant to grant
  ibv_mr* region = nullptr;
  bool is_elsewhere = false;  // what the peer may write to is not the extent's own memory
};

struct Link {
  enum class State : uint8_t {
    free,
    looking_up,  // dialled: the name
    dialling,    // the control queue pair
    joining,     // its data queue pairs
    up,
    closing,   // Close: the last frames leave
    draining,  // everything posted comes back
    ended,     // LinkDown waits to be taken
  };
  State state = State::free;
  bool dialled = false;
  bool peer_left = false;  // it disconnected
  bool has_reason = false;
  bool active = false;  // its completions are looked at in each turn
  bool dirty = false;   // requests are gathered
  replica::LinkEnd reason = replica::LinkEnd::closed_by_peer;
  uint32_t serial = 0;
  uint32_t dial = 0;
  uint32_t lanes = 0;
  uint32_t joined = 0;
  uint32_t write_bytes_max = 0;
  Instant deadline;  // joining, closing, draining
  Token token{};
  mover::SocketAddress peer;
  std::unique_ptr<mover::Lookup> lookup;
  uint32_t address_next = 0;
  Device* device = nullptr;
  ibv_cq* completions = nullptr;
  uint32_t events_unacked = 0;
  std::unique_ptr<QueuePair> control;
  std::array<std::unique_ptr<QueuePair>, lanes_max> data;
  // frame_slots to send from, then as many to receive into.
  std::vector<std::byte> frames;
  ibv_mr* frames_region = nullptr;
  IndexPool frames_free;
  std::array<GrantSlot, replica::grants_max> grants;
  std::array<uint32_t, lanes_max> grants_on{};
  uint32_t grants_elsewhere = 0;
  std::array<content::Extent, replica::writes_in_flight_max> sources{};
};

}  // namespace sluice::rdma
