// Sessions: the peers of a node and the links to them: who is dialled when, which link stays, which
// transport carries data, records in parts.
//
//   static list or registry --> peers --> dials --> links (replica/link.h) --> peer up / peer down
//
// Rules
//  - A peer is up while at least one link to it, of either transport, is authenticated.
//  - Of two links of one transport to one peer, the one that the smaller NodeId dialled stays; of
//    two by the same side, the newer one.
//  - Data goes over RDMA where such a link is up and not paused, else over TCP.
//  - A peer that comes up over TCP while both sides have an RDMA device is `due` over RDMA for
//    rdma_patience: pieces wait for that link so long, and take TCP afterwards.
//  - A device that comes makes the dials over RDMA due at once, whatever failed before.
//  - transport_errors_max errors of a transport to a peer within transport_errors_window pause that
//    transport for transport_pause: no dials, and data over it only if there is no other.
//  - Redial after a pause that doubles, from redial_min to redial_max, with a quarter of jitter.
//  - A Hello with an older epoch than one that was authenticated, or that the registry told, is
//    refused; a newer one ends the links of the older.
//
// Pure; on the replica's thread, inside Node. Records and peers are control work and allocate, both
// within limits; frames of the data path allocate nothing.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "base/prng.h"
#include "replica/link.h"
#include "replica/node_config.h"
#include "replica/record.h"
#include "replica/registry.h"
#include "stats/counters.h"

namespace sluice::replica {

inline constexpr Duration redial_min = 100_ms;
inline constexpr Duration redial_max = 10_s;
// The smaller NodeId dials first: most of the time there is no second link to be closed.
inline constexpr Duration redial_courtesy = 300_ms;
inline constexpr uint32_t transport_errors_max = 3;
inline constexpr Duration transport_errors_window = 10_s;
inline constexpr Duration transport_pause = 15_s;
// A link that stayed up so long had no trouble: the next redial is a quick one.
inline constexpr Duration link_settled = 5_s;
// Links of those who did not prove yet that they have the key.
inline constexpr uint32_t greeting_links_max = 32;
/// Records that wait to be sent to one peer: no more are asked for above this.
inline constexpr size_t record_backlog_bytes = 2 * record_bytes_max;

/// Also told again where records to the peer may have been lost: it is to be told all of them.
struct PeerUp {
  NodeSeen peer;
};
struct PeerDown {
  NodeId node;
  NodeEpoch epoch = 0;
};
struct RecordArrived {
  NodeId from;
  Record record;
};
using SessionEvent = std::variant<PeerUp, PeerDown, RecordArrived>;

class Sessions {
 public:
  /// Requires: `config` and `counters` outlive this.
  Sessions(const NodeConfig& config, stats::Counters& counters);

  // Input
  void handle(Instant now, const LinkUp& event);
  void handle(Instant now, const DialFailed& event);
  void handle(Instant now, const LinkDown& event);
  void handle(Instant now, const TransportState& event);
  /// Returns true when `body` is a message for others: Want, Refuse, Cancel or PieceBad.
  [[nodiscard]] bool handle(Instant now, const FrameArrived& event, Body& body);
  void handle(Instant now, const NodeSeen& event);
  void handle(Instant now, const NodeGone& event);
  void handle_timeout(Instant now);

  // Output
  /// Dials, handshakes, pings, credit, closes.
  [[nodiscard]] bool poll_post(Instant now, Post& out);
  /// Parts of records.
  [[nodiscard]] bool poll_record_part(Instant now, Post& out);
  [[nodiscard]] bool poll_event(SessionEvent& out);
  [[nodiscard]] Instant next_timeout() const;

  // For those who move data
  /// The link that data of `node` goes over.
  [[nodiscard]] std::optional<LinkId> data_link(Instant now, NodeId node) const;
  /// No link, but the last one was lost, or the peer became known, so recently that one may be
  /// there soon.
  [[nodiscard]] bool is_expected(Instant now, NodeId node) const;
  /// A link over RDMA is not there yet, but should be soon: data had better wait for it.
  [[nodiscard]] bool is_rdma_due(Instant now, NodeId node) const;
  [[nodiscard]] bool is_up(const LinkId& link) const;
  [[nodiscard]] bool can_send(const LinkId& link) const;
  [[nodiscard]] uint32_t lanes(const LinkId& link) const;
  /// The peer at the other end; none() when the link is not up.
  [[nodiscard]] NodeId node_of(const LinkId& link) const;
  /// Requires: can_send(link).
  void send(const LinkId& link, const Body& body, Post& out);
  void close(const LinkId& link, CloseReason reason);
  void count_bytes(const LinkId& link, uint64_t to, uint64_t from);
  /// A number below 2 * links_max that stands for the link while it is open.
  [[nodiscard]] static uint32_t index_of(const LinkId& link) {
    return static_cast<uint32_t>(link.transport) * links_max + link.slot;
  }

  // Records
  [[nodiscard]] bool has_record_room() const;
  void send_record(NodeId to, const Record& record);

  [[nodiscard]] std::vector<PeerRow> peers() const;
  [[nodiscard]] uint32_t peers_up() const { return peers_up_; }

 private:
  static constexpr uint32_t none = IndexPool::none;
  static constexpr uint32_t peers_max = 2 * nodes_max;

  struct Route {  // to one peer, over one transport
    uint32_t link = none;
    uint32_t greeting = none;  // the link that was dialled and is not proven yet
    bool dialling = false;
    uint32_t failures = 0;
    Instant dial_at = Instant::never();
    Instant paused_until;
    std::array<Instant, transport_errors_max> errors{};  // the latest ones
    uint32_t error_count = 0;
    Instant due_until;     // data waits for it
    std::string last_end;  // why it failed, or ended
  };
  struct Peer {
    bool used = false;
    bool expected = false;  // in the static list, or seen in the registry: dialled
    bool is_self = false;   // an address of the list that turned out to be ours
    NodeId node;            // none: an address that nobody answered yet
    NodeEpoch epoch = 0;
    std::string name;
    std::string address;
    uint64_t hold_bytes_max = 0;
    bool has_rdma = false;  // it said so
    std::array<Route, transport_count> routes;
    bool up = false;
    Instant down_since;
    uint64_t bytes_to = 0;
    uint64_t bytes_from = 0;
    Duration srtt;
    std::string last_end;
    // Records on their way; the first is being sent, over `record_link`.
    std::deque<std::vector<std::byte>> records;
    // Sent whole over one link, and not yet credited. Should that end before, the peer is told
    // everything anew. Another link carries no record meanwhile: of two statements the later one
    // must come last.
    struct Unconfirmed {
      uint32_t link = none;
      uint32_t frame = 0;  // how many its link had sent with it
    };
    std::deque<Unconfirmed> unconfirmed;
    size_t record_backlog = 0;
    size_t record_sent = 0;  // bytes of the first
    uint32_t record_link = none;
  };
  struct Slot {
    Link link;
    uint32_t peer = none;  // dialled: from the first on; else once authenticated
    bool proven = false;
    uint32_t records_sent = 0;
    uint32_t records_received = 0;
    std::vector<std::byte> record;  // as far as it arrived
    uint32_t record_total = 0;
  };
  struct DialEntry {
    bool used = false;
    uint32_t peer = none;
    std::string address;
  };

  [[nodiscard]] const Slot* slot_of(const LinkId& link) const;
  [[nodiscard]] Slot* slot_of(const LinkId& link) {
    return const_cast<Slot*>(std::as_const(*this).slot_of(link));
  }
  [[nodiscard]] uint32_t find_peer(NodeId node) const;
  [[nodiscard]] uint32_t add_peer(Instant now);
  [[nodiscard]] Hello own_hello();
  void handle_greeted(Instant now, Slot& slot);
  void handle_proven(Instant now, Slot& slot);
  [[nodiscard]] uint32_t resolve_peer(Instant now, Slot& slot);
  void adopt_epoch(Instant now, uint32_t peer, NodeEpoch epoch);
  [[nodiscard]] bool stays(const Slot& newer, const Slot& older) const;
  void note_up(Instant now, uint32_t peer);
  void note_down(Instant now, uint32_t peer);
  void note_error(Instant now, Peer& peer, Transport transport);
  void dial_soon(Instant now, Peer& peer, Transport transport);
  [[nodiscard]] std::string why_no_rdma(const Peer& peer) const;
  void schedule_dial(Instant now, Peer& peer, Transport transport);
  void close_slot(Slot& slot, CloseReason reason);
  void count_close(CloseReason reason);
  void forget_link(Instant now, const LinkDown& event, Slot& slot);
  void handle_record_part(Slot& slot, const RecordPart& part);
  void confirm_records(const Slot& slot);
  static void forget_records(Peer& peer);
  [[nodiscard]] std::optional<LinkId> record_link(Instant now, const Peer& peer) const;
  [[nodiscard]] bool poll_dial(Instant now, Post& out);
  [[nodiscard]] bool wants_dial(const Peer& peer, Transport transport) const;

  const NodeConfig& config_;
  stats::Counters& counters_;
  Prng random_;
  SipKey nonce_key_;
  uint64_t nonces_ = 0;
  std::array<TransportState, transport_count> states_{};
  FixedArray<Slot> slots_;                      // by index_of()
  std::array<uint32_t, 2 * links_max> open_{};  // indices of the slots in use
  uint32_t open_count_ = 0;
  uint32_t post_turn_ = 0;
  std::vector<Peer> peers_;
  std::array<std::vector<DialEntry>, transport_count> dials_;
  std::deque<SessionEvent> events_;
  uint32_t peers_up_ = 0;
  uint32_t greeting_ = 0;  // links that are not proven
  Instant now_;            // of the last timeout: for rows
};

}  // namespace sluice::replica
