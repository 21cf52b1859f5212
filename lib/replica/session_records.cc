// Sessions: records, cut into frames and put together again; and what is counted when a link is
// closed.
#include <algorithm>

#include "base/assert.h"
#include "replica/session.h"

namespace sluice::replica {

using stats::Counter;

bool Sessions::has_record_room() const {
  return std::all_of(peers_.begin(), peers_.end(),
                     [](const Peer& peer) { return peer.record_backlog < record_backlog_bytes; });
}

void Sessions::send_record(NodeId to, const Record& record) {
  const uint32_t index = find_peer(to);
  if (index == none || !peers_[index].up) return;  // told when it comes up
  Peer& peer = peers_[index];
  std::vector<std::byte> bytes;
  emit(record, bytes);
  ASSERT(!bytes.empty() && bytes.size() <= record_bytes_max);
  peer.record_backlog += bytes.size();
  peer.records.push_back(std::move(bytes));
}

bool Sessions::poll_record_part(Instant now, Post& out) {
  for (Peer& peer : peers_) {
    if (peer.records.empty()) continue;
    if (peer.record_link == none || !slots_[peer.record_link].link.is_up()) {
      const std::optional<LinkId> link = record_link(now, peer);
      if (!link) continue;
      peer.record_link = index_of(*link);
      peer.record_sent = 0;
      ++slots_[peer.record_link].records_sent;
    }
    Slot& slot = slots_[peer.record_link];
    if (!slot.link.can_send()) continue;
    const std::vector<std::byte>& record = peer.records.front();
    RecordPart part;
    part.record = slot.records_sent;
    part.total_bytes = static_cast<uint32_t>(record.size());
    part.offset_bytes = static_cast<uint32_t>(peer.record_sent);
    const size_t length = std::min<size_t>(record.size() - peer.record_sent, record_part_bytes);
    part.length_bytes = static_cast<uint8_t>(length);
    std::copy_n(record.begin() + static_cast<ptrdiff_t>(peer.record_sent), length,
                part.bytes.begin());
    counters_.add(Counter::replica_frames_sent);
    slot.link.send(part, out);
    peer.record_sent += length;
    if (peer.record_sent == record.size()) {
      counters_.add(Counter::replica_records_sent);
      peer.unconfirmed.push_back({peer.record_link, slot.link.frames_sent()});
      peer.record_backlog -= record.size();
      peer.records.pop_front();
      peer.record_link = none;
    }
    return true;
  }
  return false;
}

std::optional<LinkId> Sessions::record_link(Instant now, const Peer& peer) const {
  if (peer.unconfirmed.empty()) return data_link(now, peer.node);
  const Link& link = slots_[peer.unconfirmed.front().link].link;
  return link.is_up() ? std::optional(link.id()) : std::nullopt;
}

void Sessions::confirm_records(const Slot& slot) {
  if (!slot.proven || slot.peer == none) return;
  std::deque<Peer::Unconfirmed>& unconfirmed = peers_[slot.peer].unconfirmed;
  const auto is_taken = [&](const Peer::Unconfirmed& each) {
    return each.link == index_of(slot.link.id()) &&
           static_cast<int32_t>(slot.link.frames_credited() - each.frame) >= 0;
  };
  while (!unconfirmed.empty() && is_taken(unconfirmed.front())) unconfirmed.pop_front();
}

void Sessions::handle_record_part(Slot& slot, const RecordPart& part) {
  if (slot.record.empty()) {
    const bool begins = part.record == slot.records_received + 1 && part.offset_bytes == 0 &&
                        part.total_bytes > 0 && part.total_bytes <= record_bytes_max;
    if (!begins) return close_slot(slot, CloseReason::bad_record);
    slot.record_total = part.total_bytes;
    slot.record.reserve(part.total_bytes);
  }
  const bool follows = part.record == slot.records_received + 1 &&
                       part.total_bytes == slot.record_total &&
                       part.offset_bytes == slot.record.size() && part.length_bytes > 0 &&
                       part.length_bytes <= slot.record_total - slot.record.size();
  if (!follows) return close_slot(slot, CloseReason::bad_record);
  slot.record.insert(slot.record.end(), part.bytes.begin(), part.bytes.begin() + part.length_bytes);
  if (slot.record.size() < slot.record_total) return;
  ++slot.records_received;
  RecordArrived arrived{slot.link.peer().node, {}};
  const RecordError error = parse(slot.record, config_.digests, arrived.record);
  slot.record = {};
  switch (error) {
    case RecordError::none:
      counters_.add(Counter::replica_records_received);
      events_.push_back(std::move(arrived));
      return;
    case RecordError::truncated:
    case RecordError::bad_length:
      return counters_.add(Counter::replica_refused_record_length);
    case RecordError::unknown_kind:
      return counters_.add(Counter::replica_refused_record_kind);
    case RecordError::bad_path:
      return counters_.add(Counter::replica_refused_record_path);
    case RecordError::bad_digest:
      return counters_.add(Counter::replica_refused_record_digest);
    case RecordError::bad_value:
      return counters_.add(Counter::replica_refused_record_value);
  }
}

void Sessions::count_close(CloseReason reason) {
  switch (reason) {
    case CloseReason::none:
    case CloseReason::shutting_down:
    case CloseReason::duplicate:
    case CloseReason::superseded:
      return counters_.add(Counter::replica_closed_in_order);
    case CloseReason::silent:
      return counters_.add(Counter::replica_closed_silent);
    case CloseReason::handshake_late:
      return counters_.add(Counter::replica_closed_handshake_late);
    case CloseReason::too_many:
      return counters_.add(Counter::replica_closed_too_many);
    case CloseReason::frame_magic:
      return counters_.add(Counter::replica_refused_frame_magic);
    case CloseReason::frame_version:
      return counters_.add(Counter::replica_refused_frame_version);
    case CloseReason::frame_checksum:
      return counters_.add(Counter::replica_refused_frame_checksum);
    case CloseReason::frame_reserved:
      return counters_.add(Counter::replica_refused_frame_reserved);
    case CloseReason::frame_kind:
      return counters_.add(Counter::replica_refused_frame_kind);
    case CloseReason::frame_body:
      return counters_.add(Counter::replica_refused_frame_body);
    case CloseReason::frame_number:
      return counters_.add(Counter::replica_refused_frame_number);
    case CloseReason::frame_early:
      return counters_.add(Counter::replica_refused_frame_early);
    case CloseReason::frame_late:
      return counters_.add(Counter::replica_refused_frame_late);
    case CloseReason::frame_credit:
      return counters_.add(Counter::replica_refused_frame_credit);
    case CloseReason::bad_role:
      return counters_.add(Counter::replica_refused_peer_role);
    case CloseReason::bad_chunk_size:
      return counters_.add(Counter::replica_refused_peer_chunk_size);
    case CloseReason::old_epoch:
      return counters_.add(Counter::replica_refused_peer_epoch);
    case CloseReason::own_id:
      return counters_.add(Counter::replica_refused_peer_own_id);
    case CloseReason::bad_proof:
      return counters_.add(Counter::replica_refused_peer_proof);
    case CloseReason::bad_record:
      return counters_.add(Counter::replica_refused_record_parts);
    case CloseReason::too_many_wants:
      return counters_.add(Counter::replica_refused_wants_open);
    case CloseReason::small_writes:
      return counters_.add(Counter::replica_refused_peer_small_writes);
  }
}

}  // namespace sluice::replica
