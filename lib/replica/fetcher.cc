#include "replica/fetcher.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "base/assert.h"

namespace sluice::replica {
namespace {

using stats::Counter;

// An immediate is the fetch and a serial number, so that an answer to an earlier Want is known as
// such.
constexpr uint32_t fetch_bits = 12;
constexpr uint32_t fetch_mask = (1u << fetch_bits) - 1;

}  // namespace

Fetcher::Fetcher(const NodeConfig& config, const content::ArenaView& arena, Sessions& sessions,
                 Generations& generations, stats::Counters& counters)
    : config_(config),
      arena_(arena),
      sessions_(sessions),
      generations_(generations),
      counters_(counters),
      entries_(config.fetches_max),
      grants_(transport_count * links_max),
      queue_(config.fetches_max),
      waiting_(config.fetches_max),
      answers_(2 * size_t{config.fetches_max}),
      complaints_(64),
      arrivals_(config.fetches_max) {
  ASSERT(config.fetches_max > 0 && config.fetches_max <= fetch_mask + 1);
}

// The way in and out -----------------------------------------------------------------------------

void Fetcher::handle(Instant now, const Fetch& fetch) {
  ASSERT(fetch.fetch < entries_.size());
  Entry& entry = entries_[fetch.fetch];
  ASSERT(entry.state == State::idle);
  const uint32_t serial = entry.serial;
  entry = Entry{};
  entry.serial = serial;
  entry.generation = fetch.generation;
  entry.piece = fetch.piece;
  entry.extent = fetch.extent;
  entry.began = entry.choosing_since = now;
  ++in_use_;
  counters_.add(Counter::replica_fetches);
  queue(fetch.fetch, State::choosing);
}

void Fetcher::finish(uint32_t fetch, int error) {
  Entry& entry = entries_[fetch];
  entry.state = State::idle;
  entry.deadline = Instant::never();
  --in_use_;
  counters_.add(error == 0 ? Counter::replica_fetched : Counter::replica_fetches_failed);
  const bool pushed = answers_.push({fetch, false, error});
  ASSERT(pushed);
}

bool Fetcher::poll_overlay(ToOverlay& out) {
  Answer answer;
  if (!answers_.pop(answer)) return false;
  if (answer.read_disk) {
    out = ReadDisk{answer.fetch};
  } else {
    out = Fetched{answer.fetch, answer.error};
  }
  return true;
}

void Fetcher::queue(uint32_t fetch, State state) {
  entries_[fetch].state = state;
  entries_[fetch].deadline = Instant::never();
  const bool pushed = queue_.push(fetch);
  ASSERT(pushed);
}

bool Fetcher::poll_post(Instant now, Post& out) {
  if (look_again_) {
    look_again_ = false;
    look_at_ = Instant::never();
    for (uint32_t fetch; waiting_.pop(fetch);) queue(fetch, State::choosing);
  }
  if (poll_complaint(now, out)) return true;
  for (size_t left = queue_.size(); left > 0; --left) {
    uint32_t fetch = 0;
    if (queue_.pop(fetch) && poll_entry(now, fetch, out)) return true;
  }
  return false;
}

// The entry was taken off the queue. Returns true with a post.
bool Fetcher::poll_entry(Instant now, uint32_t fetch, Post& out) {
  Entry& entry = entries_[fetch];
  if (entry.state == State::choosing) return choose(now, fetch, out);
  // A link that is on its way down: LinkDown comes, and with it the next step.
  if (!sessions_.is_up(entry.link)) return false;
  if (entry.state == State::revoke_due) {
    entry.state = State::revoking;
    out = Revoke{entry.link, entry.grant};
    return true;
  }
  if (!sessions_.can_send(entry.link)) {
    queue(fetch, entry.state);
    return false;
  }
  if (entry.state == State::want_due) {
    ++entry.serial;
    entry.state = State::wanted;
    entry.asked = now;
    entry.deadline = now + config_.fetch_patience;
    counters_.add(Counter::replica_wants_sent);
    sessions_.send(entry.link,
                   Want{want_of(fetch), entry.generation, entry.piece, entry.extent.length_bytes,
                        entry.window},
                   out);
    return true;
  }
  ASSERT(entry.state == State::cancel_due);
  entry.state = State::cancelling;
  entry.deadline = now + cancel_patience;
  sessions_.send(entry.link, Cancel{want_of(fetch)}, out);
  return true;
}

// Where from -------------------------------------------------------------------------------------

bool Fetcher::choose(Instant now, uint32_t fetch, Post& out) {
  Entry& entry = entries_[fetch];
  KnownGeneration* generation = generations_.find(entry.generation);
  const bool fits = generation != nullptr && entry.piece < generation->pieces() &&
                    entry.extent.length_bytes == generation->length_of(entry.piece);
  if (!fits) {
    finish(fetch, EIO);
    return false;
  }
  const Asked asked = ask_source(now, fetch, *generation, out);
  if (asked == Asked::yes) return true;
  if (asked == Asked::due) {
    wait_for_source(fetch, now + source_search_every);
    return false;
  }
  if (entry.tried_disk) {
    if (asked == Asked::nobody) {
      finish(fetch, EIO);
    } else {
      wait_for_source(fetch, std::max(entry.not_before, now + source_search_every));
    }
    return false;
  }
  if (asked == Asked::may_come && now - entry.choosing_since < config_.fetch_patience) {
    wait_for_source(fetch, now + source_search_every);
  } else {
    begin_disk(fetch);
  }
  return false;
}

// The best source that there is; one that was dropped only when nothing else is left.
Fetcher::Asked Fetcher::ask_source(Instant now, uint32_t fetch, KnownGeneration& generation,
                                   Post& out) {
  Entry& entry = entries_[fetch];
  Asked result = Asked::nobody;
  for (const Source& source : generation.sources) {
    const bool was_tried =
        std::find(entry.tried.begin(), entry.tried.end(), source.node) != entry.tried.end();
    const bool is_dropped = now < source.dropped_until;
    if (was_tried || (is_dropped && !entry.tried_disk)) continue;
    const std::optional<LinkId> link = sessions_.data_link(now, source.node);
    if (!link) {
      if (!entry.tried_disk && sessions_.is_expected(now, source.node)) result = Asked::may_come;
      continue;
    }
    if (is_dropped && now < entry.not_before) {
      result = Asked::may_come;
      continue;
    }
    if (link->transport == Transport::tcp && sessions_.is_rdma_due(now, source.node)) {
      if (!std::exchange(entry.waited_for_rdma, true)) counters_.add(Counter::replica_rdma_waits);
      return Asked::due;
    }
    Grants& grants = grants_[Sessions::index_of(*link)];
    if (~grants.taken == 0) return Asked::may_come;  // it has enough to do: this one waits
    const auto grant = static_cast<uint32_t>(std::countr_one(grants.taken));
    static_assert(grants_max == 64);
    grants.taken |= uint64_t{1} << grant;
    grants.owner[grant] = fetch;
    entry.state = State::granting;
    entry.source = source.node;
    entry.link = *link;
    entry.grant = grant;
    entry.has_landed = false;
    out = Grant{*link, grant, entry.extent};
    return Asked::yes;
  }
  return result;
}

void Fetcher::wait_for_source(uint32_t fetch, Instant until) {
  const bool pushed = waiting_.push(fetch);
  ASSERT(pushed);
  look_at_ = std::min(look_at_, until);
}

void Fetcher::begin_disk(uint32_t fetch) {
  Entry& entry = entries_[fetch];
  entry.tried_disk = true;
  entry.state = State::on_disk;
  counters_.add(Counter::replica_disk_pieces);
  const bool pushed = answers_.push({fetch, true, 0});
  ASSERT(pushed);
}

void Fetcher::choose_again(Instant now, uint32_t fetch, bool source_failed) {
  Entry& entry = entries_[fetch];
  entry.choosing_since = now;
  counters_.add(Counter::replica_fetch_retries);
  if (source_failed) (void)entry.tried.push_back(entry.source);
  queue(fetch, State::choosing);
}

void Fetcher::handle(Instant, const DiskRead& read) {
  ASSERT(read.fetch < entries_.size());
  Entry& entry = entries_[read.fetch];
  ASSERT(entry.state == State::on_disk);
  KnownGeneration* generation = generations_.find(entry.generation);
  if (read.error != 0 || generation == nullptr) {
    counters_.add(Counter::replica_disk_errors);
  } else if (config_.digests.crc32c(arena_.bytes(entry.extent)) != generation->crcs[entry.piece]) {
    counters_.add(Counter::replica_disk_checksum_failures);
  } else {
    return finish(read.fetch, 0);
  }
  queue(read.fetch, State::choosing);  // nothing is left but dropped sources
}

// Links ------------------------------------------------------------------------------------------

uint32_t Fetcher::want_of(uint32_t fetch) const {
  return entries_[fetch].serial << fetch_bits | fetch;
}

// The fetch whose last Want it was, if it went over that link and an answer is awaited still.
Fetcher::Entry* Fetcher::entry_of(const LinkId& link, uint32_t want) {
  const uint32_t fetch = want & fetch_mask;
  if (fetch >= entries_.size()) return nullptr;
  Entry& entry = entries_[fetch];
  const bool is_awaited = entry.state == State::wanted || entry.state == State::cancel_due ||
                          entry.state == State::cancelling || entry.state == State::revoke_due ||
                          entry.state == State::revoking;
  return is_awaited && entry.link == link && want_of(fetch) == want ? &entry : nullptr;
}

void Fetcher::handle(Instant, const Granted& event) {
  if (event.grant >= grants_max || !sessions_.is_up(event.link)) return;
  const Grants& grants = grants_[Sessions::index_of(event.link)];
  if ((grants.taken >> event.grant & 1) == 0) return;
  Entry& entry = entries_[grants.owner[event.grant]];
  if (entry.state != State::granting || entry.link != event.link) return;
  entry.window = event.window;
  queue(grants.owner[event.grant], State::want_due);
}

void Fetcher::handle(Instant now, const Landed& event) {
  Entry* entry = entry_of(event.link, event.immediate);
  if (entry == nullptr || entry->has_landed || event.length_bytes != entry->extent.length_bytes) {
    counters_.add(Counter::replica_landed_unexpected);
    return;
  }
  entry->has_landed = true;
  grants_[Sessions::index_of(event.link)].landed_at = now;
  const bool is_rdma = event.link.transport == Transport::rdma;
  counters_.add(is_rdma ? Counter::replica_landed_rdma_bytes : Counter::replica_landed_tcp_bytes,
                event.length_bytes);
  sessions_.count_bytes(event.link, 0, event.length_bytes);
  (void)arrivals_.push({entry->generation, entry->source, event.link.transport, event.length_bytes,
                        now - entry->asked});
  const uint32_t fetch = event.immediate & fetch_mask;
  if (entry->state == State::wanted || entry->state == State::cancelling) {
    queue(fetch, State::revoke_due);
  } else if (entry->state == State::cancel_due) {
    entry->state = State::revoke_due;  // in the queue already
  }
}

void Fetcher::handle(Instant now, const LinkId& link, const Refuse& refuse) {
  Entry* entry = entry_of(link, refuse.want);
  if (entry == nullptr || entry->has_landed) return;
  entry->is_early = (refuse.reason == RefuseReason::unknown_generation ||
                     refuse.reason == RefuseReason::not_held) &&
                    now - entry->began < early_patience;
  counters_.add(Counter::replica_wants_refused_by_peer);
  if (entry->state == State::wanted || entry->state == State::cancelling) {
    queue(refuse.want & fetch_mask, State::revoke_due);
  } else if (entry->state == State::cancel_due) {
    entry->state = State::revoke_due;
  }
}

void Fetcher::handle(Instant now, const Revoked& event) {
  if (event.grant >= grants_max || !sessions_.is_up(event.link)) return;
  const Grants& grants = grants_[Sessions::index_of(event.link)];
  if ((grants.taken >> event.grant & 1) == 0) return;
  const uint32_t fetch = grants.owner[event.grant];
  Entry& entry = entries_[fetch];
  if (entry.state != State::revoking || entry.link != event.link) return;
  counters_.add(Counter::replica_fences);
  release_grant(entry);
  if (entry.has_landed) {
    verify(now, fetch);
  } else if (std::exchange(entry.is_early, false)) {
    entry.state = State::choosing;
    const bool pushed = waiting_.push(fetch);
    ASSERT(pushed);
    look_at_ = std::min(look_at_, now + early_retry_every);
  } else {
    choose_again(now, fetch, true);
  }
}

void Fetcher::release_grant(Entry& entry) {
  grants_[Sessions::index_of(entry.link)].taken &= ~(uint64_t{1} << entry.grant);
  look_again_ |= !waiting_.empty();
}

void Fetcher::handle_link_down(Instant now, const LinkId& link) {
  Grants& grants = grants_[Sessions::index_of(link)];
  const uint64_t taken = grants.taken;
  grants.taken = 0;
  for (uint64_t left = taken; left != 0; left &= left - 1) {
    const uint32_t fetch = grants.owner[static_cast<uint32_t>(std::countr_zero(left))];
    Entry& entry = entries_[fetch];
    ASSERT(entry.link == link);
    counters_.add(Counter::replica_fences_by_link_end);
    const bool is_queued = entry.state == State::want_due || entry.state == State::cancel_due ||
                           entry.state == State::revoke_due;
    // Off the queue: it goes there once more with its next state.
    for (size_t n = is_queued ? queue_.size() : 0; n > 0; --n) {
      uint32_t other = 0;
      if (queue_.pop(other) && other != fetch) (void)queue_.push(other);
    }
    if (entry.has_landed) {
      verify(now, fetch);
    } else {
      choose_again(now, fetch, ++entry.link_losses >= link_losses_max);
    }
  }
  look_again_ |= !waiting_.empty();
}

// What came --------------------------------------------------------------------------------------

// Requires: nobody can write to the extent any more.
void Fetcher::verify(Instant now, uint32_t fetch) {
  Entry& entry = entries_[fetch];
  KnownGeneration* generation = generations_.find(entry.generation);
  if (generation == nullptr) return finish(fetch, EIO);
  if (config_.digests.crc32c(arena_.bytes(entry.extent)) == generation->crcs[entry.piece]) {
    generation->bytes_arrived += entry.extent.length_bytes;
    return finish(fetch, 0);
  }
  counters_.add(Counter::replica_checksum_failures);
  strike(now, *generation, entry);
  bool is_tried = false;
  if (entry.tried_disk) {
    entry.not_before = now + last_resort_pause * (int64_t{1} << entry.wrong_answers);
    is_tried = ++entry.wrong_answers == last_resort_tries;
  }
  choose_again(now, fetch, is_tried);
}

void Fetcher::strike(Instant now, KnownGeneration& generation, const Entry& entry) {
  (void)complaints_.push({entry.source, {entry.generation, entry.piece}});
  Source* source = generation.source(entry.source);
  if (source == nullptr || ++source->strikes < strikes_max) return;
  source->strikes = 0;
  source->dropped_until = now + source_dropped_for;
  counters_.add(Counter::replica_sources_dropped);
}

bool Fetcher::poll_complaint(Instant now, Post& out) {
  for (size_t left = complaints_.size(); left > 0; --left) {
    Complaint complaint;
    if (!complaints_.pop(complaint)) return false;
    const std::optional<LinkId> link = sessions_.data_link(now, complaint.to);
    if (!link) continue;
    if (!sessions_.can_send(*link)) {
      (void)complaints_.push(complaint);
      continue;
    }
    sessions_.send(*link, complaint.body, out);
    return true;
  }
  return false;
}

bool Fetcher::is_asked_of(NodeId node, GenerationId generation, content::PieceNumber piece) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.state != State::idle && entry.state != State::choosing &&
           entry.state != State::on_disk && entry.source == node && entry.piece == piece &&
           entry.generation == generation;
  });
}

bool Fetcher::is_fetching(GenerationId generation) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.state != State::idle && entry.generation == generation;
  });
}

// Time -------------------------------------------------------------------------------------------

// Writes of a link come one after another: while some land, the others are on their way. To revoke
// a grant in the middle of a write would end the link.
bool Fetcher::is_slow_only(Instant now, Entry& entry, Duration patience) {
  const Instant landed_at = grants_[Sessions::index_of(entry.link)].landed_at;
  const Instant until =
      std::min(landed_at + patience, entry.asked + config_.fetch_patience * slow_link_patience);
  if (landed_at < entry.asked || until <= now) return false;
  entry.deadline = until;
  return true;
}

void Fetcher::handle_timeout(Instant now) {
  if (look_at_ <= now) look_again_ = true;
  if (in_use_ == 0) return;
  for (uint32_t fetch = 0; fetch < entries_.size(); ++fetch) {
    Entry& entry = entries_[fetch];
    if (entry.deadline > now) continue;
    if (entry.state == State::wanted) {
      if (is_slow_only(now, entry, config_.fetch_patience)) continue;
      counters_.add(Counter::replica_wants_late);
      queue(fetch, State::cancel_due);
    } else if (entry.state == State::cancelling) {
      if (is_slow_only(now, entry, cancel_patience)) continue;
      queue(fetch, State::revoke_due);
    }
  }
}

Instant Fetcher::next_timeout() const {
  Instant next = look_at_;
  if (in_use_ == 0) return next;
  for (const Entry& entry : entries_) next = std::min(next, entry.deadline);
  return next;
}

}  // namespace sluice::replica
