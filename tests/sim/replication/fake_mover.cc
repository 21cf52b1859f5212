#include "fake_mover.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace sluice::sim {

using namespace replica;
using content::Extent;

namespace {

// How often what is held up by a cut or a stall looks again.
constexpr int64_t look_again_ns = 5'000'000;

bool overlap(const Extent& a, const Extent& b) {
  return a.chunk == b.chunk && a.offset_bytes < b.offset_bytes + b.length_bytes &&
         b.offset_bytes < a.offset_bytes + a.length_bytes;
}

// Addresses are the chunk's place in the arena; the base differs by host, so that one host's are of
// no use at another.
uint64_t address_of(FakeMover::HostIndex host, const content::ArenaView& arena,
                    const Extent& extent) {
  return (uint64_t{host} + 1) * 0x1000'0000'0000 +
         uint64_t{extent.chunk.value()} * arena.chunk_bytes + extent.offset_bytes;
}

constexpr const char* no_device = "there is no RDMA device";

int64_t transfer_ns(uint64_t bytes, uint64_t bytes_per_s) {
  return bytes_per_s == 0 ? 0 : static_cast<int64_t>(bytes * 1'000'000'000 / bytes_per_s);
}

}  // namespace

// Hosts
// -----------------------------------------------------------------------------------------------

FakeMover::HostIndex FakeMover::add_host(const std::string& address) {
  hosts_.emplace_back().address = address;
  return static_cast<HostIndex>(hosts_.size() - 1);
}

void FakeMover::start(HostIndex index, const content::ArenaView& arena) {
  Host& host = hosts_[index];
  ASSERT(!host.alive);
  host.arena = arena;
  host.alive = true;
  host.stopped = false;
  ++host.life;
  if (!host.rdma)
    tell(index, host.life, replica::TransportState{Transport::rdma, false, no_device});
}

void FakeMover::kill(HostIndex index, bool silently) {
  Host& host = hosts_[index];
  const std::map<LinkId, Where> links = std::move(host.links);
  host.alive = false;
  ++host.life;
  host.links.clear();
  host.inbox.clear();
  host.dials.clear();
  host.writes = 0;
  for (const auto& [id, where] : links) {
    End& end = where.link->ends[where.side];
    const bool was_up = end.state == EndState::up;
    end.state = EndState::down;
    end.told_down = true;
    if (was_up && !silently) end_peer(where.link, where.side, LinkEnd::closed_by_peer);
  }
}

void FakeMover::set_rdma(HostIndex index, bool usable) {
  Host& host = hosts_[index];
  if (host.rdma && !usable) {
    const std::map<LinkId, Where> links = host.links;
    for (const auto& [id, where] : links) {
      if (id.transport == Transport::rdma) end(where.link, where.side, LinkEnd::device_error);
    }
  }
  if (host.rdma != usable) {
    tell(index, host.life,
         replica::TransportState{Transport::rdma, usable, usable ? "" : no_device});
  }
  host.rdma = usable;
}

void FakeMover::set_cut(HostIndex a, HostIndex b, bool cut) {
  const std::pair<HostIndex, HostIndex> pair{std::min(a, b), std::max(a, b)};
  if (cut) {
    cuts_.insert(pair);
  } else {
    cuts_.erase(pair);
  }
}

void FakeMover::end_links(HostIndex a, HostIndex b, LinkEnd reason) {
  const std::map<LinkId, Where> links = hosts_[a].links;
  for (const auto& [id, where] : links) {
    if (where.link->ends[1 - where.side].host != b) continue;
    end(where.link, 0, reason);
    end(where.link, 1, reason);
  }
}

std::vector<Extent> FakeMover::granted(HostIndex host) const {
  std::vector<Extent> extents;
  for (const auto& [id, where] : hosts_[host].links) {
    for (const GrantEntry& grant : where.link->ends[where.side].grants) {
      if (grant.state != GrantState::free) extents.push_back(grant.extent);
    }
  }
  return extents;
}

std::vector<Extent> FakeMover::writing(HostIndex host) const {
  std::vector<Extent> extents;
  for (const auto& [id, where] : hosts_[host].links) {
    for (const auto& [number, source] : where.link->ends[where.side].writes) {
      extents.push_back(source);
    }
  }
  return extents;
}

uint32_t FakeMover::links_up(HostIndex host, Transport transport) const {
  uint32_t count = 0;
  for (const auto& [id, where] : hosts_[host].links) {
    if (id.transport == transport && where.link->ends[where.side].state == EndState::up) ++count;
  }
  return count;
}

uint64_t FakeMover::bytes_landed(HostIndex from, HostIndex to) const {
  const auto at = landed_.find({from, to});
  return at == landed_.end() ? 0 : at->second;
}

void FakeMover::violate(HostIndex host, const std::string& what) {
  if (violation_.empty()) violation_ = "node " + std::to_string(host) + ": " + what;
}

// The Node's side
// -----------------------------------------------------------------------------------------------

void FakeMover::post(HostIndex host, const Post& post) {
  ASSERT(hosts_[host].alive);
  std::visit([&](const auto& what) { carry_out(host, what); }, post);
}

bool FakeMover::poll(HostIndex index, LinkEvent& out) {
  Host& host = hosts_[index];
  if (host.inbox.empty()) return false;
  out = host.inbox.front();
  host.inbox.pop_front();
  handle_told(index, out);
  return true;
}

// What the Node may do again now that it was told.
void FakeMover::handle_told(HostIndex index, const LinkEvent& event) {
  Host& host = hosts_[index];
  const auto end_of = [&](const LinkId& id) -> End& {
    const Where& where = host.links.at(id);
    return where.link->ends[where.side];
  };
  if (const auto* frame = std::get_if<FrameArrived>(&event)) {
    --end_of(frame->link).frames_unread;
  } else if (const auto* revoked = std::get_if<Revoked>(&event)) {
    end_of(revoked->link).grants[revoked->grant] = {};
  } else if (const auto* done = std::get_if<WriteDone>(&event)) {
    end_of(done->link).writes.erase(done->write);
    --host.writes;
  } else if (const auto* failed = std::get_if<DialFailed>(&event)) {
    host.dials.erase({failed->dial, failed->transport});
  } else if (const auto* up = std::get_if<LinkUp>(&event)) {
    if (up->dialled) host.dials.erase({up->dial, up->link.transport});
  } else if (const auto* down = std::get_if<LinkDown>(&event)) {
    End& end = end_of(down->link);
    end.told_down = true;
    end.grants = {};
    host.writes -= static_cast<uint32_t>(end.writes.size());
    end.writes.clear();
    host.links.erase(down->link);
  }
}

FakeMover::Where FakeMover::find(HostIndex index, const LinkId& id, const char* what) {
  Host& host = hosts_[index];
  const auto at = host.links.find(id);
  if (at != host.links.end()) return at->second;
  const auto used = host.serials.find({id.transport, id.slot});
  if (used == host.serials.end() || id.serial > used->second) {
    violate(index, std::string(what) + " for a link that never was");
  }
  return {};
}

void FakeMover::carry_out(HostIndex index, const Dial& dial) {
  Host& host = hosts_[index];
  if (dial.dial >= 64) violate(index, "a dial number beyond nodes_max");
  if (!host.dials.insert({dial.dial, dial.transport}).second) {
    violate(index, "a dial number that is in use");
    return;
  }
  const std::string address(dial.address);
  const Transport transport = dial.transport;
  const uint32_t number = dial.dial;
  const uint64_t life = host.life;
  HostIndex to = 0;
  while (to < hosts_.size() && hosts_[to].address != address) ++to;
  const auto fail = [this, index, life, number, transport](const char* why) {
    tell(index, life, DialFailed{number, transport, why});
  };
  const bool is_rdma = transport == Transport::rdma;
  if (is_rdma && !host.rdma) {
    at(soon(1'000), [fail] { fail("no device"); });
    return;
  }
  const int64_t answer_ns =
      now_ns_ + 2 * options_.latency_ns + 1 + (is_rdma ? options_.rdma_dial_ns : 0);
  const auto accepts = [this, index, to, is_rdma] {
    return to < hosts_.size() && !is_cut(index, to) && hosts_[to].alive &&
           (!is_rdma || (hosts_[to].rdma && hosts_[index].rdma && !hosts_[to].stopped));
  };
  // A process that is not there answers at once (a reset); what is cut off never does.
  const bool silent = to < hosts_.size() && (is_cut(index, to) || hosts_[to].stopped);
  at(accepts() || !silent ? answer_ns : now_ns_ + options_.dial_patience_ns,
     [this, index, life, to, number, transport, fail, accepts] {
       if (hosts_[index].life != life) return;
       if (accepts()) {
         connect(index, to, number, transport);
       } else {
         fail("nothing answers");
       }
     });
}

void FakeMover::connect(HostIndex from, HostIndex to, uint32_t dial, Transport transport) {
  const auto link = std::make_shared<Link>();
  link->transport = transport;
  if (!make_end(*link, 0, from) || !make_end(*link, 1, to)) {
    tell(from, hosts_[from].life, DialFailed{dial, transport, "no link is free"});
    return;
  }
  for (uint32_t side = 0; side < 2; ++side) {
    const End& end = link->ends[side];
    hosts_[end.host].links[end.id] = {link, side};
    ++hosts_[end.host].serials[{transport, end.id.slot}];
    tell(end.host, hosts_[end.host].life,
         LinkUp{.link = end.id,
                .dialled = side == 0,
                .dial = side == 0 ? dial : 0,
                .lanes = options_.lanes,
                .write_bytes_max = options_.write_bytes_max});
  }
}

bool FakeMover::make_end(Link& link, uint32_t side, HostIndex index) {
  Host& host = hosts_[index];
  for (uint32_t slot = 0; slot < links_max; ++slot) {
    const uint32_t serial = host.serials[{link.transport, slot}];
    if (serial > 0 && host.links.contains({link.transport, slot, serial})) continue;
    link.ends[side].host = index;
    link.ends[side].id = {link.transport, slot, serial + 1};
    return true;
  }
  return false;
}

void FakeMover::carry_out(HostIndex index, const SendFrame& send) {
  const Where where = find(index, send.link, "a frame");
  if (!where.link) return;
  End& self = where.link->ends[where.side];
  if (self.state != EndState::up) return;
  End& peer = where.link->ends[1 - where.side];
  if (++peer.frames_unread > frames_in_flight_max) {
    violate(index, "more frames in flight than the receiver has posted");
  }
  Frame frame = send.frame;
  if (happens(options_.faults.frame_corrupt_ppm)) {
    ++faults_injected_;
    frame[prng_.below(frame.size())] ^= static_cast<std::byte>(1 + prng_.below(255));
  }
  int64_t due_ns = now_ns_ + options_.latency_ns +
                   static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.jitter_ns) + 1));
  due_ns = self.channel_free_ns[0] = std::max(due_ns, self.channel_free_ns[0]);
  const LinkPointer link = where.link;
  const uint32_t side = where.side;
  at(due_ns, [this, link, side, frame] {
    pass(link, side, [this, side, frame](const LinkPointer& on) {
      const End& receiver = on->ends[1 - side];
      if (receiver.state != EndState::up) return find_dead(on, side);
      tell_end(on, 1 - side, FrameArrived{receiver.id, frame});
    });
  });
  misbehave(link, side);
}

void FakeMover::carry_out(HostIndex index, const Grant& grant) {
  const Where where = find(index, grant.link, "a grant");
  if (!where.link) return;
  End& self = where.link->ends[where.side];
  if (self.state != EndState::up) return;
  if (grant.grant >= grants_max || self.grants[grant.grant].state != GrantState::free) {
    violate(index, "a grant number that is in use");
    return;
  }
  for (const Extent& other : granted(index)) {
    if (overlap(other, grant.extent)) violate(index, "memory granted twice at a time");
  }
  const content::ArenaView& arena = hosts_[index].arena;
  if (grant.extent.chunk.value() >= arena.chunk_count || grant.extent.length_bytes == 0 ||
      uint64_t{grant.extent.offset_bytes} + grant.extent.length_bytes > arena.chunk_bytes) {
    violate(index, "a grant of what is no part of a chunk");
    return;
  }
  GrantEntry& entry = self.grants[grant.grant];
  entry.state = GrantState::asked;
  entry.extent = grant.extent;
  entry.window = {.address = address_of(index, arena, grant.extent),
                  .key = next_key_ += 1 + static_cast<uint32_t>(prng_.below(1000)),
                  .lane = static_cast<uint32_t>(prng_.below(options_.lanes)),
                  .length_bytes = grant.extent.length_bytes};
  self.table_free_ns = std::max(self.table_free_ns, soon(options_.grant_ns_max));
  const LinkPointer link = where.link;
  at(self.table_free_ns, [this, link, side = where.side, number = grant.grant] {
    End& end = link->ends[side];
    if (end.state != EndState::up) return;
    GrantEntry& made = end.grants[number];
    if (made.state == GrantState::asked) made.state = GrantState::live;
    tell_end(link, side, Granted{end.id, number, made.window});
  });
}

void FakeMover::carry_out(HostIndex index, const Revoke& revoke) {
  const Where where = find(index, revoke.link, "a revoke");
  if (!where.link) return;
  End& self = where.link->ends[where.side];
  if (self.state != EndState::up) return;
  if (revoke.grant >= grants_max || (self.grants[revoke.grant].state != GrantState::asked &&
                                     self.grants[revoke.grant].state != GrantState::live)) {
    violate(index, "revokes what is not granted");
    return;
  }
  self.grants[revoke.grant].state = GrantState::revoking;
  self.table_free_ns = std::max(self.table_free_ns, soon(options_.fence_ns_max));
  const LinkPointer link = where.link;
  at(self.table_free_ns, [this, link, side = where.side, number = revoke.grant] {
    End& end = link->ends[side];
    if (end.state != EndState::up) return;
    end.grants[number].state = GrantState::fenced;
    tell_end(link, side, Revoked{end.id, number});
  });
}

void FakeMover::carry_out(HostIndex index, const Write& posted) {
  const Where where = find(index, posted.link, "a write");
  if (!where.link) return;
  End& self = where.link->ends[where.side];
  if (self.state != EndState::up) return;
  if (posted.write >= writes_in_flight_max || self.writes.contains(posted.write)) {
    violate(index, "a write number that is in use");
    return;
  }
  if (posted.source.length_bytes > posted.window.length_bytes ||
      posted.source.length_bytes > options_.write_bytes_max || posted.source.length_bytes == 0) {
    violate(index, "a write longer than its window, or empty");
    return;
  }
  self.writes[posted.write] = posted.source;
  ++hosts_[index].writes;
  Write write = posted;
  if (happens(options_.faults.wrong_key_ppm)) {
    ++faults_injected_;
    write.window.key ^= 0x5a5a;
  }
  Host& host = hosts_[index];
  Host& to = hosts_[where.link->ends[1 - where.side].host];
  const uint32_t length = write.source.length_bytes;
  const uint32_t lane = write.window.lane % (channels_max - 1);
  int64_t& channel_free_ns = self.channel_free_ns[1 + lane];
  // Both NICs are taken for as long as it takes to pass them.
  const int64_t sent_ns = std::max(host.tx_free_ns, now_ns_);
  host.tx_free_ns = sent_ns + transfer_ns(length, host.bytes_per_s);
  const int64_t taken_ns =
      transfer_ns(length, std::max(host.bytes_per_s, to.bytes_per_s) == 0 ? 0
                          : host.bytes_per_s == 0                         ? to.bytes_per_s
                          : to.bytes_per_s == 0                           ? host.bytes_per_s
                                                : std::min(host.bytes_per_s, to.bytes_per_s));
  const int64_t jitter_ns =
      static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.jitter_ns) + 1));
  const int64_t begin_ns =
      std::max({sent_ns + options_.latency_ns + jitter_ns, to.rx_free_ns, channel_free_ns});
  to.rx_free_ns = channel_free_ns = begin_ns + taken_ns;

  const LinkPointer link = where.link;
  const uint32_t side = where.side;
  const auto moving = std::make_shared<Moving>();
  // The NIC reads the source when its turn comes, not when it is told of it.
  at(sent_ns, [this, link, side, write, moving] {
    const End& end = link->ends[side];
    if (end.state == EndState::down || !hosts_[end.host].alive) return;  // flushed
    const MutableBytes source = hosts_[end.host].arena.bytes(write.source);
    moving->bytes.assign(source.begin(), source.end());
    if (happens(options_.faults.write_corrupt_ppm)) {
      ++faults_injected_;
      moving->bytes[prng_.below(moving->bytes.size())] ^=
          static_cast<std::byte>(1 + prng_.below(255));
    }
  });
  at(begin_ns, [this, link, side, write, moving] {
    pass(link, side, [this, side, write, moving](const LinkPointer& on) {
      land(on, side, write, *moving, false);
    });
  });
  at(begin_ns + taken_ns, [this, link, side, write, moving] {
    pass(link, side, [this, side, write, moving](const LinkPointer& on) {
      land(on, side, write, *moving, true);
    });
  });
  misbehave(link, side);
}

// First half of a write, then all of it.
void FakeMover::land(const LinkPointer& link, uint32_t from, const Write& write, Moving& moving,
                     bool whole) {
  End& sender = link->ends[from];
  End& receiver = link->ends[1 - from];
  if (moving.bytes.empty()) return;  // it was flushed before the NIC read it
  if (receiver.state != EndState::up) find_dead(link, from);
  if (receiver.state == EndState::down) return;
  const auto length = static_cast<uint32_t>(moving.bytes.size());
  const GrantEntry* found = nullptr;
  for (const GrantEntry& grant : receiver.grants) {
    const bool writable = grant.state == GrantState::live || grant.state == GrantState::revoking;
    const uint64_t first = write.window.address - grant.window.address;
    if (writable && grant.window.key == write.window.key &&
        grant.window.lane == write.window.lane && write.window.address >= grant.window.address &&
        first + length <= grant.window.length_bytes) {
      found = &grant;
    }
  }
  if (found == nullptr && link->transport == Transport::tcp && moving.begun) {
    tell_done(link, from, write.write);  // the rest is read and thrown away
    return;
  }
  if (found == nullptr) {
    end(link, 1 - from, LinkEnd::protection_error);
    end(link, from, LinkEnd::protection_error);
    return;
  }
  moving.begun = true;
  // At an end that is ending some of what the peer sent still comes.
  if (receiver.state == EndState::ending && prng_.chance(1, 2)) return;
  Extent place = found->extent;
  place.offset_bytes += static_cast<uint32_t>(write.window.address - found->window.address);
  place.length_bytes = whole ? length : length / 2;
  if (place.length_bytes > 0) {
    if (on_landing_) on_landing_(receiver.host, place);
    const MutableBytes memory = hosts_[receiver.host].arena.bytes(place);
    std::memcpy(memory.data(), moving.bytes.data(), place.length_bytes);
  }
  if (!whole) {
    const auto at = end_at_write_.find({sender.host, receiver.host});
    if (at != end_at_write_.end() && --at->second == 0) {
      end_at_write_.erase(at);
      ++faults_injected_;
      moving.bytes.clear();  // the rest never comes
      end(link, from, LinkEnd::unreachable);
      end(link, 1 - from, LinkEnd::unreachable);
    }
    return;
  }
  if (receiver.state != EndState::up) return;
  landed_[{sender.host, receiver.host}] += length;
  landed_by_transport_[static_cast<size_t>(link->transport)] += length;
  tell_end(link, 1 - from, Landed{receiver.id, write.immediate, length});
  tell_done(link, from, write.write);
}

void FakeMover::tell_done(const LinkPointer& link, uint32_t from, uint32_t number) {
  at(now_ns_ + options_.latency_ns, [this, link, from, number] {
    pass(link, 1 - from, [this, from, number](const LinkPointer& on) {
      tell_end(on, from, WriteDone{on->ends[from].id, number});
    });
  });
}

void FakeMover::carry_out(HostIndex index, const Close& close) {
  const Where where = find(index, close.link, "a close");
  if (!where.link || where.link->ends[where.side].state != EndState::up) return;
  end(where.link, where.side, LinkEnd::closed_here);
  end_peer(where.link, where.side, LinkEnd::closed_by_peer);
}

// What passes, and what does not
// -----------------------------------------------------------------------------------------------

bool FakeMover::is_blocked(const Link& link, uint32_t from) const {
  const End& sender = link.ends[from];
  const End& receiver = link.ends[1 - from];
  const bool unread = link.transport == Transport::tcp && hosts_[receiver.host].stopped;
  return sender.silent || sender.stalled_until_ns > now_ns_ || is_cut(sender.host, receiver.host) ||
         unread;
}

void FakeMover::pass(const LinkPointer& link, uint32_t from, Arrival arrive) {
  End& sender = link->ends[from];
  if (sender.held.empty() && !is_blocked(*link, from)) {
    arrive(link);
    return;
  }
  if (sender.held.empty()) {
    sender.held_since_ns = now_ns_;
    at(now_ns_ + look_again_ns, [this, link, from] { let_held_pass(link, from); });
  }
  sender.held.push_back(std::move(arrive));
}

void FakeMover::let_held_pass(const LinkPointer& link, uint32_t from) {
  End& sender = link->ends[from];
  if (link->ends[0].state == EndState::down && link->ends[1].state == EndState::down) {
    sender.held.clear();  // nobody is left
    return;
  }
  while (!sender.held.empty() && !is_blocked(*link, from)) {
    const Arrival arrive = std::move(sender.held.front());
    sender.held.pop_front();
    arrive(link);
  }
  if (sender.held.empty()) return;
  const int64_t patience_ns =
      link->transport == Transport::rdma ? options_.rdma_patience_ns : options_.tcp_patience_ns;
  const bool reads = !hosts_[link->ends[1 - from].host].stopped;
  if (now_ns_ - sender.held_since_ns > patience_ns && reads) {
    sender.held.clear();
    end(link, from, LinkEnd::unreachable);
    return;
  }
  at(now_ns_ + look_again_ns, [this, link, from] { let_held_pass(link, from); });
}

void FakeMover::misbehave(const LinkPointer& link, uint32_t side) {
  End& self = link->ends[side];
  const MoverFaults& faults = options_.faults;
  if (happens(faults.error_ppm)) {
    ++faults_injected_;
    const LinkEnd reason = prng_.chance(1, 2) ? LinkEnd::unreachable : LinkEnd::device_error;
    at(soon(options_.latency_ns * 4), [this, link, side, reason] { end(link, side, reason); });
    if (prng_.chance(1, 2)) end_peer(link, side, LinkEnd::closed_by_peer);
  }
  if (happens(faults.silent_ppm)) {
    ++faults_injected_;
    self.silent = true;
  }
  if (happens(faults.stall_ppm)) {
    ++faults_injected_;
    self.stalled_until_ns = soon(faults.stall_ns_max);
  }
}

// The end of links
// -----------------------------------------------------------------------------------------------

void FakeMover::end(const LinkPointer& link, uint32_t side, LinkEnd reason) {
  End& self = link->ends[side];
  if (self.state != EndState::up) return;
  self.state = EndState::ending;
  self.reason = reason;
  at(soon(options_.drain_ns_max), [this, link, side] {
    End& ended = link->ends[side];
    if (ended.state != EndState::ending) return;  // its process is gone
    ended.state = EndState::down;
    tell(ended.host, hosts_[ended.host].life, LinkDown{ended.id, ended.reason});
  });
}

void FakeMover::end_peer(const LinkPointer& link, uint32_t side, LinkEnd reason) {
  at(now_ns_ + options_.latency_ns, [this, link, side, reason] {
    pass(link, side, [this, side, reason](const LinkPointer& on) { end(on, 1 - side, reason); });
  });
}

// Something was sent to an end that is no more. A kernel says so for TCP; a NIC goes on trying.
void FakeMover::find_dead(const LinkPointer& link, uint32_t side) {
  const Host& peer = hosts_[link->ends[1 - side].host];
  const bool refused = link->transport == Transport::tcp && peer.alive;
  at(now_ns_ + (refused ? options_.latency_ns : options_.rdma_patience_ns),
     [this, link, side, refused] {
       end(link, side, refused ? LinkEnd::closed_by_peer : LinkEnd::unreachable);
     });
}

void FakeMover::tell(HostIndex index, uint64_t life, const LinkEvent& event) {
  Host& host = hosts_[index];
  if (host.alive && host.life == life) host.inbox.push_back(event);
}

void FakeMover::tell_end(const LinkPointer& link, uint32_t side, const LinkEvent& event) {
  const End& end = link->ends[side];
  if (end.state == EndState::up) hosts_[end.host].inbox.push_back(event);
}

// Time
// -----------------------------------------------------------------------------------------------

void FakeMover::advance(int64_t now_ns) {
  while (!events_.empty() && events_.begin()->first <= now_ns) {
    now_ns_ = std::max(now_ns_, events_.begin()->first);
    const std::function<void()> call = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    call();
  }
  now_ns_ = std::max(now_ns_, now_ns);
}

}  // namespace sluice::sim
