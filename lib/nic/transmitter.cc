#include "nic/transmitter.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace sluice::nic {
namespace {

using stats::Counter;

// How often an idle worker asks the device for completions: some drivers walk their ring for it.
constexpr uint32_t idle_reap_interval = 16;

// i40e refuses trains of smaller frames (I40E_MIN_TSO_MSS); they are cut here.
constexpr uint16_t device_segment_min = 256;

std::byte* data_of(rte_mbuf& mbuf) {
  return rte_pktmbuf_mtod(&mbuf, std::byte*);
}

/// Of a whole train: what takes it as one packet (a kernel behind virtio) verifies its header.
void sum_ip_header(std::byte* ip, const wire::TxFrame& frame) {
  std::byte* field = ip + wire::ipv4_checksum_offset;
  store_be16(field, 0);
  store_be16(field, static_cast<uint16_t>(~wire::sum_bytes({ip, frame.l3_length})));
}

}  // namespace

Transmitter::Transmitter(const TransmitterConfig& config, PinHome& home, const SendMemory& memory,
                         stats::Counters& counters)
    : config_(config),
      home_(home),
      memory_(memory),
      counters_(counters),
      pending_(pending_trains_max) {
  ASSERT(config_.burst > 0 && config_.burst <= out_.size());
}

Transmitter::~Transmitter() {
  abandon();
}

void Transmitter::send(const wire::TxFrame& frame) {
  if (!stalled_ && !current_ && pending_.empty()) {
    const wire::Train train(frame);
    Cursor cursor;
    if (cut(frame, train, cursor)) return;
    current_.emplace(frame);
    current_->cursor = cursor;
    pin_payload(frame);
    return;
  }
  pin_payload(frame);
  const bool pushed = pending_.push(frame);
  ASSERT(pushed);  // the caller asked room()
}

bool Transmitter::flush() {
  home_.drain();
  if (stalled_) push_out();
  const bool took = config_.from_others != nullptr && take_from_others();
  cut_pending();
  push_out();
  frames_this_turn_ = 0;
  return took;
}

void Transmitter::reap() {
  home_.drain();
  if (!config_.owns_queue || config_.idle_reap == IdleReap::none) return;
  // A worker that sends reaps with every burst.
  if (std::exchange(offers_, false)) return;
  if (idle_reaps_++ % idle_reap_interval == 0) reap_device();
}

uint64_t Transmitter::abandon() {
  uint64_t given_up = out_count_;
  rte_pktmbuf_free_bulk(out_.data(), out_count_);
  out_count_ = prepared_ = 0;
  stalled_ = false;
  if (current_) {
    given_up += current_->train.frame_count() - current_->cursor.frame;
    unpin_payload(current_->frame);
    current_.reset();
  }
  wire::TxFrame frame;
  while (pending_.pop(frame)) {
    given_up += frame.frame_count();
    unpin_payload(frame);
  }
  return given_up;
}

// --- Cutting ---

bool Transmitter::cut(const wire::TxFrame& frame, const wire::Train& train, Cursor& cursor) {
  while (cursor.frame < train.frame_count()) {
    if (out_count_ >= config_.burst && !make_way()) return false;
    Built built = build(frame, train, cursor);
    if (built == Built::no_mbuf) {
      // The device may hold them all and give them back only when asked.
      push_out();
      if (config_.owns_queue) reap_device();
      home_.drain();
      built = build(frame, train, cursor);
    }
    if (built == Built::no_mbuf) {
      counters_.add(Counter::nic_tx_no_mbuf);
      return false;
    }
    if (built == Built::refused) counters_.add(Counter::nic_drop_tx_oversize);
  }
  return true;
}

/// Room for one more mbuf in out_.
bool Transmitter::make_way() {
  push_out();
  return !stalled_;
}

Transmitter::Built Transmitter::build(const wire::TxFrame& frame, const wire::Train& train,
                                      Cursor& cursor) {
  if (device_cuts(frame, cursor)) return build_whole(frame, train, cursor);
  const uint32_t length = train.payload(cursor.frame).length_bytes;
  if (frame.header_length + length > config_.frame_max_bytes) {
    // Our own MTU was not kept to. Skip the frame's bytes: the rest of the train stands.
    for (uint32_t left = length; left > 0;) left -= next_piece(frame, cursor, left).length_bytes;
    ++cursor.frame;
    return Built::refused;
  }
  return config_.offloads.chained_mbufs ? build_chained(frame, train, cursor)
                                        : build_copied(frame, train, cursor);
}

bool Transmitter::device_cuts(const wire::TxFrame& frame, const Cursor& cursor) const {
  if (!config_.offloads.tcp_segmentation || cursor.frame != 0) return false;
  if (frame.payload_length <= frame.segment_size || frame.l4_length == 0) return false;
  if (frame.payload_length > config_.train_max_bytes) return false;
  if (frame.segment_size < device_segment_min) return false;
  uint32_t mbufs = 1;
  for (const content::Extent& extent : frame.payload) {
    // One more each: an extent may straddle two pages.
    mbufs += extent.length_bytes / config_.segment_max_bytes + 2;
  }
  return mbufs <= config_.mbufs_per_frame_max;
}

Transmitter::Built Transmitter::build_whole(const wire::TxFrame& frame, const wire::Train& train,
                                            Cursor& cursor) {
  rte_mbuf* head = rte_pktmbuf_alloc(config_.frames);
  if (head == nullptr) return Built::no_mbuf;
  head->data_len = frame.header_length;
  head->pkt_len = frame.header_length;
  Cursor after = cursor;
  if (!chain_payload(frame, frame.payload_length, after, *head, nullptr)) {
    rte_pktmbuf_free(head);
    return Built::no_mbuf;
  }
  train.emit_whole({data_of(*head), frame.header_length});
  if (!frame.is_ipv6 && !config_.sums_ip) sum_ip_header(data_of(*head) + frame.l2_length, frame);
  const uint64_t frames = train.frame_count();
  mark_offloads(*head, frame, frames);
  append(*head, frames, frames * frame.header_length + frame.payload_length);
  cursor = after;
  cursor.frame = train.frame_count();
  return Built::done;
}

Transmitter::Built Transmitter::build_chained(const wire::TxFrame& frame, const wire::Train& train,
                                              Cursor& cursor) {
  rte_mbuf* head = rte_pktmbuf_alloc(config_.frames);
  if (head == nullptr) return Built::no_mbuf;
  head->data_len = frame.header_length;
  head->pkt_len = frame.header_length;
  const bool by_device = config_.offloads.tx_checksum;
  const uint32_t length = train.payload(cursor.frame).length_bytes;
  Cursor after = cursor;
  wire::Checksum sum;
  if (!chain_payload(frame, length, after, *head, by_device ? nullptr : &sum)) {
    rte_pktmbuf_free(head);
    return Built::no_mbuf;
  }
  const MutableBytes header{data_of(*head), frame.header_length};
  if (by_device) {
    train.emit_offloaded(cursor.frame, {.ip_checksum = config_.sums_ip}, header);
    mark_offloads(*head, frame);
  } else {
    train.emit(cursor.frame, sum.sum(), header);
  }
  append(*head, 1, frame.header_length + length);
  cursor = after;
  ++cursor.frame;
  return Built::done;
}

Transmitter::Built Transmitter::build_copied(const wire::TxFrame& frame, const wire::Train& train,
                                             Cursor& cursor) {
  rte_mbuf* whole = rte_pktmbuf_alloc(config_.frames);
  if (whole == nullptr) return Built::no_mbuf;
  const bool by_device = config_.offloads.tx_checksum;
  const uint32_t length = train.payload(cursor.frame).length_bytes;
  const uint32_t total = frame.header_length + length;
  ASSERT(total <= rte_pktmbuf_tailroom(whole));
  std::byte* data = data_of(*whole);
  wire::Checksum sum;
  copy_payload(frame, cursor, {data + frame.header_length, length}, by_device ? nullptr : &sum);
  if (by_device) {
    train.emit_offloaded(cursor.frame, {.ip_checksum = config_.sums_ip},
                         {data, frame.header_length});
    mark_offloads(*whole, frame);
  } else {
    train.emit(cursor.frame, sum.sum(), {data, frame.header_length});
  }
  whole->data_len = static_cast<uint16_t>(total);
  whole->pkt_len = total;
  if (length > 0) counters_.add(Counter::nic_payload_copied_bytes, length);
  append(*whole, 1, total);
  ++cursor.frame;
  return Built::done;
}

// --- Payload ---

/// The next run of payload that lies in one extent, at most `left_bytes` long. Moves the cursor
/// behind it.
content::Extent Transmitter::next_piece(const wire::TxFrame& frame, Cursor& cursor,
                                        uint32_t left_bytes) const {
  while (cursor.offset == frame.payload[cursor.extent].length_bytes) {
    ++cursor.extent;  // asserts, should the payload be shorter than promised
    cursor.offset = 0;
  }
  const content::Extent& extent = frame.payload[cursor.extent];
  const content::Extent piece{extent.chunk, extent.offset_bytes + cursor.offset,
                              std::min(left_bytes, extent.length_bytes - cursor.offset)};
  cursor.offset += piece.length_bytes;
  return piece;
}

bool Transmitter::chain_payload(const wire::TxFrame& frame, uint32_t left_bytes, Cursor& cursor,
                                rte_mbuf& head, wire::Checksum* sum) {
  rte_mbuf* last = &head;
  while (left_bytes > 0) {
    content::Extent piece =
        next_piece(frame, cursor, std::min(left_bytes, config_.segment_max_bytes));
    const uint32_t wanted = piece.length_bytes;
    rte_mbuf* mbuf = attach(piece);
    if (mbuf == nullptr) return false;
    cursor.offset -= wanted - piece.length_bytes;
    if (sum != nullptr) sum->add(config_.view.bytes(piece));
    last->next = mbuf;
    last = mbuf;
    ++head.nb_segs;
    head.pkt_len += piece.length_bytes;
    left_bytes -= piece.length_bytes;
  }
  return true;
}

void Transmitter::copy_payload(const wire::TxFrame& frame, Cursor& cursor, MutableBytes to,
                               wire::Checksum* sum) const {
  while (!to.empty()) {
    const content::Extent piece = next_piece(frame, cursor, static_cast<uint32_t>(to.size()));
    const Bytes from = config_.view.bytes(piece);
    const MutableBytes part = to.first(from.size());
    if (sum != nullptr) {
      sum->add_sum(wire::copy_and_sum(part, from), from.size());
    } else {
      std::memcpy(part.data(), from.data(), from.size());
    }
    to = to.subspan(from.size());
  }
}

/// An mbuf over the piece, which it pins; null when there is none. Shortens the piece where it is
/// not contiguous for the device.
rte_mbuf* Transmitter::attach(content::Extent& piece) {
  if (!home_.may_pin()) return nullptr;
  rte_mbuf* mbuf = rte_pktmbuf_alloc(config_.payloads);
  if (mbuf == nullptr) return nullptr;
  std::byte* at = config_.view.bytes(piece).data();
  const SendMemory::Run run = memory_.run(at, piece.length_bytes);
  piece.length_bytes = static_cast<uint32_t>(run.length_bytes);

  PayloadTag& tag = payload_tag(*mbuf);
  tag.home = &home_;
  tag.chunk = piece.chunk;
  rte_mbuf_ext_refcnt_set(&tag.shared, 1);
  home_.pin(piece.chunk);
  const auto length = static_cast<uint16_t>(piece.length_bytes);
  rte_pktmbuf_attach_extbuf(mbuf, at, run.iova, length, &tag.shared);
  mbuf->data_off = 0;
  mbuf->data_len = length;
  return mbuf;
}

// `frames`: how many the device is to make of it; 0 where it is one already.
void Transmitter::mark_offloads(rte_mbuf& head, const wire::TxFrame& frame, uint64_t frames) const {
  if (frame.l4_length == 0) return;
  head.l2_len = frame.l2_length & 0x7f;
  head.l3_len = frame.l3_length & 0x1ff;
  head.l4_len = frame.l4_length;
  head.ol_flags |= frame.is_ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
  if (!frame.is_ipv6 && config_.sums_ip) head.ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
  head.ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
  counters_.add(Counter::nic_tx_device_checksums, std::max(frames, uint64_t{1}));
  if (frames == 0) return;
  head.ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
  head.tso_segsz = frame.segment_size;
  counters_.add(Counter::nic_tx_device_trains);
}

void Transmitter::append(rte_mbuf& head, uint64_t frames, uint64_t bytes) {
  out_[out_count_++] = &head;
  ++frames_this_turn_;
  counters_.add(Counter::tx_frames, frames);
  counters_.add(Counter::tx_bytes, bytes);
  if (config_.is_far) counters_.add(Counter::nic_far_bytes, bytes);
}

void Transmitter::pin_payload(const wire::TxFrame& frame) {
  for (const content::Extent& extent : frame.payload) home_.pin(extent.chunk);
}

void Transmitter::unpin_payload(const wire::TxFrame& frame) {
  for (const content::Extent& extent : frame.payload) home_.unpin(extent.chunk);
}

// --- Towards the device ---

void Transmitter::cut_pending() {
  while (!stalled_ && (current_ || !pending_.empty())) {
    if (!current_) {
      wire::TxFrame frame;
      const bool popped = pending_.pop(frame);
      ASSERT(popped);
      current_.emplace(frame);
    }
    if (!cut(current_->frame, current_->train, current_->cursor)) return;
    unpin_payload(current_->frame);
    current_.reset();
  }
}

bool Transmitter::take_from_others() {
  // A turn's worth, lest we starve ourselves, or a kernel's backlog (netdev_max_backlog is 1000).
  uint32_t left = frames_per_turn_max;
  while (!stalled_ && left > 0) {
    if (out_count_ >= config_.burst && !make_way()) break;
    const uint32_t room = std::min(left, config_.burst - out_count_);
    const uint32_t count = rte_ring_sc_dequeue_burst(
        config_.from_others, reinterpret_cast<void**>(&out_[out_count_]), room, nullptr);
    out_count_ += count;
    left -= count;
    if (count < room) break;
  }
  return left < frames_per_turn_max;
}

void Transmitter::push_out() {
  if (out_count_ == 0) {
    stalled_ = false;
    return;
  }
  uint32_t sent = 0;
  if (config_.owns_queue) {
    offers_ = true;
    if (config_.offloads.tx_checksum || config_.offloads.tcp_segmentation) prepare();
    sent = rte_eth_tx_burst(config_.port, config_.queue, out_.data(),
                            static_cast<uint16_t>(out_count_));
  } else {
    sent = rte_ring_mp_enqueue_burst(config_.to_owner, reinterpret_cast<void**>(out_.data()),
                                     out_count_, nullptr);
    if (sent > 0 && config_.owner_bell != nullptr) config_.owner_bell->ring_if_asleep();
  }
  if (sent < out_count_) {
    counters_.add(Counter::nic_tx_stalls);
    std::copy(out_.begin() + sent, out_.begin() + out_count_, out_.begin());
  }
  out_count_ -= sent;
  prepared_ -= std::min(prepared_, sent);
  stalled_ = out_count_ > 0;
}

/// Has the driver check what it has not seen yet; what it will never take is dropped and counted.
void Transmitter::prepare() {
  while (prepared_ < out_count_) {
    prepared_ += rte_eth_tx_prepare(config_.port, config_.queue, &out_[prepared_],
                                    static_cast<uint16_t>(out_count_ - prepared_));
    if (prepared_ < out_count_) {
      counters_.add(Counter::nic_drop_tx_refused);
      drop_out(prepared_);
    }
  }
}

void Transmitter::drop_out(uint32_t index) {
  rte_pktmbuf_free(out_[index]);
  std::copy(out_.begin() + index + 1, out_.begin() + out_count_, out_.begin() + index);
  --out_count_;
}

void Transmitter::reap_device() {
  if (config_.idle_reap == IdleReap::done_cleanup) {
    rte_eth_tx_done_cleanup(config_.port, config_.queue, 0);
  } else if (config_.idle_reap == IdleReap::empty_burst) {
    rte_eth_tx_burst(config_.port, config_.queue, out_.data(), 0);
  } else if (config_.idle_reap == IdleReap::status) {
    rte_eth_tx_descriptor_status(config_.port, config_.queue, 0);
  }
}

}  // namespace sluice::nic
