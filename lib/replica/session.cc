#include "replica/session.h"

#include <algorithm>

#include "base/assert.h"

namespace sluice::replica {
namespace {

using stats::Counter;

bool is_error(LinkEnd end) {
  return end != LinkEnd::closed_here && end != LinkEnd::closed_by_peer;
}

const char* text_of_end(LinkEnd end) {
  switch (end) {
    case LinkEnd::closed_here:
      return "closed here";
    case LinkEnd::closed_by_peer:
      return "closed by the peer";
    case LinkEnd::unreachable:
      return "unreachable";
    case LinkEnd::receiver_not_ready:
      return "receiver not ready";
    case LinkEnd::protection_error:
      return "protection error";
    case LinkEnd::device_error:
      return "device error";
    case LinkEnd::malformed:
      return "malformed bytes";
  }
  return "unknown";
}

Counter counter_of_end(LinkEnd end) {
  switch (end) {
    case LinkEnd::closed_here:
      return Counter::replica_link_closed_here;
    case LinkEnd::closed_by_peer:
      return Counter::replica_link_closed_by_peer;
    case LinkEnd::unreachable:
      return Counter::replica_link_unreachable;
    case LinkEnd::receiver_not_ready:
      return Counter::replica_link_receiver_not_ready;
    case LinkEnd::protection_error:
      return Counter::replica_link_protection_error;
    case LinkEnd::device_error:
      return Counter::replica_link_device_error;
    case LinkEnd::malformed:
      return Counter::replica_link_malformed;
  }
  return Counter::replica_link_malformed;
}

}  // namespace

Sessions::Sessions(const NodeConfig& config, stats::Counters& counters)
    : config_(config),
      counters_(counters),
      random_(config.nonce_key.k0 ^ config.nonce_key.k1),
      nonce_key_(config.nonce_key),
      slots_(transport_count * links_max) {
  peers_.reserve(peers_max);  // so that they stay where they are
  for (auto& dials : dials_) dials.resize(nodes_max);
  for (const std::string& address : config.peers) {
    const uint32_t index = add_peer(Instant());
    if (index == none) break;  // more than nodes_max: the command line refuses them
    peers_[index].expected = true;
    peers_[index].address = address;
    for (Route& route : peers_[index].routes) route.dial_at = Instant();
  }
}

// Peers ------------------------------------------------------------------------------------------

const Sessions::Slot* Sessions::slot_of(const LinkId& link) const {
  if (link.slot >= links_max || static_cast<uint32_t>(link.transport) >= transport_count) {
    return nullptr;
  }
  const Slot& slot = slots_[index_of(link)];
  return slot.link.state() != Link::State::free && slot.link.id() == link ? &slot : nullptr;
}

uint32_t Sessions::find_peer(NodeId node) const {
  for (uint32_t i = 0; i < peers_.size(); ++i) {
    if (peers_[i].used && peers_[i].node == node) return i;
  }
  return none;
}

// Takes the place of a stranger that left where there is no other.
uint32_t Sessions::add_peer(Instant now) {
  uint32_t index = none;
  const bool is_full =
      std::all_of(peers_.begin(), peers_.end(), [](const Peer& peer) { return peer.used; });
  if (is_full && peers_.size() < peers_max) peers_.emplace_back();
  for (uint32_t i = 0; i < peers_.size(); ++i) {
    const Peer& peer = peers_[i];
    if (!peer.used) {
      index = i;
      break;
    }
    const bool has_link = std::any_of(peer.routes.begin(), peer.routes.end(),
                                      [](const Route& r) { return r.link != none || r.dialling; });
    if (!peer.expected && !peer.is_self && !has_link) index = i;
  }
  if (index == none) return none;
  for (Slot& slot : slots_.span()) {
    if (slot.peer == index) slot.peer = none;  // links on their way down
  }
  peers_[index] = Peer{};
  peers_[index].used = true;
  peers_[index].down_since = now;
  return index;
}

void Sessions::handle(Instant now, const NodeSeen& event) {
  if (event.node == config_.self || event.node.is_none()) return;
  uint32_t index = find_peer(event.node);
  if (index == none) index = add_peer(now);
  if (index == none) return;
  Peer& peer = peers_[index];
  if (event.epoch < peer.epoch) return;
  peer.node = event.node;
  peer.name = event.name;
  peer.hold_bytes_max = event.hold_bytes_max;
  adopt_epoch(now, index, event.epoch);
  const bool is_new = !peer.expected || peer.address != event.address;
  peer.address = event.address;
  peer.expected = true;
  if (!is_new) return;
  peer.down_since = now;
  for (uint32_t t = 0; t < transport_count; ++t) {
    dial_soon(now, peer, static_cast<Transport>(t));
  }
}

void Sessions::handle(Instant, const NodeGone& event) {
  const uint32_t index = find_peer(event.node);
  if (index != none && peers_[index].epoch <= event.epoch) peers_[index].expected = false;
}

void Sessions::adopt_epoch(Instant now, uint32_t index, NodeEpoch epoch) {
  Peer& peer = peers_[index];
  if (epoch <= peer.epoch) return;
  for (Route& route : peer.routes) {
    if (route.link == none) continue;
    close_slot(slots_[route.link], CloseReason::superseded);
    route.link = none;
  }
  if (peer.up) note_down(now, index);
  peer.epoch = epoch;
}

void Sessions::note_up(Instant now, uint32_t index) {
  Peer& peer = peers_[index];
  peer.up = true;
  Route& rdma = peer.routes[static_cast<size_t>(Transport::rdma)];
  if (rdma.link == none) {
    rdma.due_until = now + config_.rdma_patience;
    dial_soon(now, peer, Transport::rdma);
  }
  ++peers_up_;
  counters_.add(Counter::replica_peers_came);
  events_.push_back(PeerUp{{peer.node, peer.epoch, peer.name, peer.address, peer.hold_bytes_max}});
}

void Sessions::note_down(Instant now, uint32_t index) {
  Peer& peer = peers_[index];
  peer.up = false;
  peer.down_since = now;
  --peers_up_;
  counters_.add(Counter::replica_peers_went);
  forget_records(peer);
  events_.push_back(PeerDown{peer.node, peer.epoch});
}

void Sessions::forget_records(Peer& peer) {
  peer.records.clear();
  peer.unconfirmed.clear();
  peer.record_backlog = peer.record_sent = 0;
  peer.record_link = none;
}

// Links ------------------------------------------------------------------------------------------

Hello Sessions::own_hello() {
  Hello hello;
  hello.node = config_.self;
  hello.epoch = config_.epoch;
  std::array<std::byte, 8> counter;
  store_be64(counter.data(), ++nonces_);
  const SipDigest nonce = siphash24_128(nonce_key_, counter);
  store_be64(&hello.nonce[0], nonce.low);
  store_be64(&hello.nonce[8], nonce.high);
  hello.hold_bytes_max = config_.hold_bytes_max;
  hello.chunk_bytes = config_.chunk_bytes;
  hello.name = ShortText<64>(config_.name);
  hello.address = ShortText<100>(config_.address);
  hello.has_rdma = config_.prefer_rdma && states_[static_cast<size_t>(Transport::rdma)].usable;
  return hello;
}

void Sessions::handle(Instant now, const LinkUp& event) {
  ASSERT(event.link.slot < links_max);
  const uint32_t index = index_of(event.link);
  Slot& slot = slots_[index];
  ASSERT(slot.link.state() == Link::State::free);
  slot.link.open(now, event, own_hello());
  open_[open_count_++] = index;
  ++greeting_;
  if (event.dialled) {
    DialEntry& dial = dials_[static_cast<size_t>(event.link.transport)][event.dial];
    ASSERT(dial.used);
    dial.used = false;
    slot.peer = dial.peer;
    if (slot.peer != none) {
      Route& route = peers_[slot.peer].routes[static_cast<size_t>(event.link.transport)];
      route.dialling = false;
      route.greeting = index;
    }
  } else if (greeting_ > greeting_links_max) {
    close_slot(slot, CloseReason::too_many);
  }
}

void Sessions::handle(Instant now, const DialFailed& event) {
  counters_.add(Counter::replica_dials_failed);
  DialEntry& dial = dials_[static_cast<size_t>(event.transport)][event.dial];
  ASSERT(dial.used);
  dial.used = false;
  if (dial.peer == none) return;
  Peer& peer = peers_[dial.peer];
  Route& route = peer.routes[static_cast<size_t>(event.transport)];
  route.dialling = false;
  ++route.failures;
  route.last_end = peer.last_end = event.why;
  schedule_dial(now, peer, event.transport);
}

void Sessions::handle(Instant now, const LinkDown& event) {
  Slot* slot = slot_of(event.link);
  if (slot == nullptr) return;
  counters_.add(counter_of_end(event.reason));
  if (!slot->proven) --greeting_;
  if (slot->peer != none) forget_link(now, event, *slot);
  *slot = Slot{};
  const uint32_t index = index_of(event.link);
  auto* const end = open_.data() + open_count_;
  *std::find(open_.data(), end, index) = *(end - 1);
  --open_count_;
}

void Sessions::forget_link(Instant now, const LinkDown& event, Slot& slot) {
  const uint32_t index = index_of(event.link);
  Peer& peer = peers_[slot.peer];
  Route& route = peer.routes[static_cast<size_t>(event.link.transport)];
  const bool lost_records =
      peer.record_link == index ||
      std::any_of(peer.unconfirmed.begin(), peer.unconfirmed.end(),
                  [&](const Peer::Unconfirmed& each) { return each.link == index; });
  const CloseReason said = slot.link.bye_of_peer();
  const CloseReason own = slot.link.close_reason();
  if (own != CloseReason::none) {
    peer.last_end = text_of(own);
  } else if (said != CloseReason::none) {
    peer.last_end = std::string("the peer said: ") + text_of(said);
  } else {
    peer.last_end = text_of_end(event.reason);
  }
  route.last_end = peer.last_end;
  if (route.greeting == index) route.greeting = none;
  const bool was_in_use = route.link == index;
  if (was_in_use) route.link = none;
  if (slot.proven && (is_error(event.reason) || own == CloseReason::silent)) {
    note_error(now, peer, event.link.transport);
  }
  if (slot.proven && now - slot.link.opened_at() >= link_settled) {
    route.failures = 0;
  } else if (said != CloseReason::duplicate && own != CloseReason::duplicate) {
    ++route.failures;
  }
  if (route.link == none) schedule_dial(now, peer, event.link.transport);
  const bool has_other = std::any_of(peer.routes.begin(), peer.routes.end(),
                                     [](const Route& other) { return other.link != none; });
  if (was_in_use && peer.up && !has_other) {
    note_down(now, slot.peer);
  } else if (lost_records && peer.up) {
    forget_records(peer);
    events_.push_back(
        PeerUp{{peer.node, peer.epoch, peer.name, peer.address, peer.hold_bytes_max}});
  }
}

void Sessions::close_slot(Slot& slot, CloseReason reason) {
  const Link::State before = slot.link.state();
  slot.link.close(reason);
  if (slot.link.state() != before) count_close(reason);
}

void Sessions::close(const LinkId& link, CloseReason reason) {
  if (Slot* slot = slot_of(link)) close_slot(*slot, reason);
}

bool Sessions::handle(Instant now, const FrameArrived& event, Body& body) {
  Slot* slot = slot_of(event.link);
  if (slot == nullptr) return false;
  counters_.add(Counter::replica_frames_received);
  const Link::Input input = slot->link.handle_frame(now, event.frame, config_, body);
  confirm_records(*slot);
  switch (input) {
    case Link::Input::nothing:
    case Link::Input::bye:
      return false;
    case Link::Input::greeted:
      handle_greeted(now, *slot);
      return false;
    case Link::Input::proven:
      handle_proven(now, *slot);
      return false;
    case Link::Input::violation:
      count_close(slot->link.close_reason());
      if (slot->link.close_reason() == CloseReason::own_id && slot->peer != none &&
          slot->link.peer().node == config_.self) {
        peers_[slot->peer].is_self = true;  // an address of the list that is our own
      }
      return false;
    case Link::Input::message:
      break;
  }
  if (const auto* part = std::get_if<RecordPart>(&body)) {
    handle_record_part(*slot, *part);
    return false;
  }
  return true;
}

void Sessions::handle_greeted(Instant, Slot& slot) {
  const Hello& hello = slot.link.peer();
  const uint32_t known = find_peer(hello.node);
  if (known != none && hello.epoch < peers_[known].epoch) {
    close_slot(slot, CloseReason::old_epoch);
    return;
  }
  slot.link.accept(config_);
}

// Who it is that proved to have the key. Returns none when there is no room for one more.
uint32_t Sessions::resolve_peer(Instant now, Slot& slot) {
  const NodeId node = slot.link.peer().node;
  uint32_t index = find_peer(node);
  const uint32_t dialled = slot.peer;
  if (dialled == none || dialled == index) return index != none ? index : add_peer(now);
  Peer& by_address = peers_[dialled];
  if (index == none && by_address.node.is_none()) return dialled;
  // The address belongs to a peer that is known otherwise, or to another one than before.
  if (index == none) index = add_peer(now);
  if (index == none) return none;
  peers_[index].address = by_address.address;
  peers_[index].expected = by_address.expected;
  by_address.expected = false;
  if (!by_address.node.is_none()) return index;
  for (uint32_t t = 0; t < transport_count; ++t) {
    for (DialEntry& dial : dials_[t]) {
      if (!dial.used || dial.peer != dialled) continue;
      dial.peer = index;
      peers_[index].routes[t].dialling = true;
    }
  }
  for (Slot& other : slots_.span()) {
    if (other.peer == dialled) other.peer = index;
  }
  for (uint32_t t = 0; t < transport_count; ++t) {
    const uint32_t greeting = by_address.routes[t].greeting;
    if (greeting != none) peers_[index].routes[t].greeting = greeting;
  }
  by_address = Peer{};
  return index;
}

// Of two links between the same nodes over one transport.
bool Sessions::stays(const Slot& newer, const Slot& older) const {
  const bool newer_is_ours = newer.link.facts().dialled;
  if (newer_is_ours == older.link.facts().dialled) return true;
  return newer_is_ours == (config_.self < newer.link.peer().node);
}

void Sessions::handle_proven(Instant now, Slot& slot) {
  const Hello& hello = slot.link.peer();
  const uint32_t index = resolve_peer(now, slot);
  if (index == none) {
    close_slot(slot, CloseReason::too_many);
    return;
  }
  slot.peer = index;
  slot.proven = true;
  --greeting_;
  Peer& peer = peers_[index];
  if (hello.epoch < peer.epoch) {
    close_slot(slot, CloseReason::old_epoch);
    return;
  }
  peer.node = hello.node;
  adopt_epoch(now, index, hello.epoch);
  peer.name = hello.name.view();
  peer.hold_bytes_max = hello.hold_bytes_max;
  peer.has_rdma = hello.has_rdma;
  if (!peer.expected || peer.address.empty()) peer.address = hello.address.view();
  Route& route = peer.routes[static_cast<size_t>(slot.link.id().transport)];
  if (route.greeting == index_of(slot.link.id())) route.greeting = none;
  if (route.link != none) {
    Slot& older = slots_[route.link];
    const bool is_better = stays(slot, older);
    close_slot(is_better ? older : slot, CloseReason::duplicate);
    if (!is_better) return;
  }
  route.link = index_of(slot.link.id());
  route.due_until = Instant();
  counters_.add(Counter::replica_links_up);
  if (!peer.up) note_up(now, index);
}

// Rows --------------------------------------------------------------------------------------------

std::vector<PeerRow> Sessions::peers() const {
  std::vector<PeerRow> rows;
  for (const Peer& peer : peers_) {
    if (!peer.used || peer.is_self) continue;
    PeerRow& row = rows.emplace_back();
    row.node = peer.node;
    row.epoch = peer.epoch;
    row.name = peer.name;
    row.address = peer.address;
    row.alive = peer.up;
    row.rdma_up = peer.routes[static_cast<size_t>(Transport::rdma)].link != none;
    row.tcp_up = peer.routes[static_cast<size_t>(Transport::tcp)].link != none;
    row.why_no_rdma = why_no_rdma(peer);
    row.bytes_to = peer.bytes_to;
    row.bytes_from = peer.bytes_from;
    row.srtt_us = static_cast<uint32_t>(peer.srtt.us());
    row.last_end = peer.last_end;
  }
  return rows;
}

}  // namespace sluice::replica
