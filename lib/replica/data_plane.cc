#include "replica/data_plane.h"

#include <algorithm>

#include "base/assert.h"

namespace sluice::replica {
namespace {

using stats::Counter;

constexpr uint32_t ingest_objects_max = 16;
constexpr Duration progress_every = 100_ms;
// Nobody may be seen reading for a moment who has let go of one piece and not yet asked for the
// next.
constexpr uint32_t quiet_looks = 2;
// One generation is asked about at a time.
constexpr Duration readers_retry = 5_ms;

content::CatalogLimits catalog_limits(const NodeConfig& config) {
  content::CatalogLimits limits;
  limits.objects_max = 4'096 + ingest_objects_max;
  limits.pieces_max = node_pieces_max;
  limits.waiters_max = Keeper::waiters(config) + wants_max;
  limits.chunk_count = config.chunk_count;
  limits.chunk_bytes = config.chunk_bytes;
  limits.readahead_pieces = 0;  // the Keeper's window is the read-ahead
  limits.fresh_for = 1_s;
  return limits;
}

}  // namespace

DataPlane::DataPlane(const NodeConfig& config, const content::ArenaView& arena,
                     content::ChunkPins& pins, stats::Counters& counters)
    : config_(config),
      pins_(pins),
      counters_(counters),
      catalog_(catalog_limits(config), pins, counters),
      sessions_(config, counters),
      fetcher_(config, arena, sessions_, generations_, counters),
      keeper_({.config = config,
               .arena = arena,
               .generations = generations_,
               .catalog = catalog_,
               .pins = pins,
               .counters = counters,
               .first_waiter = 0}),
      supplier_({.config = config,
                 .sessions = sessions_,
                 .generations = generations_,
                 .catalog = catalog_,
                 .pins = pins,
                 .keeper = keeper_,
                 .fetcher = fetcher_,
                 .counters = counters,
                 .first_waiter = Keeper::waiters(config)}),
      progress_(64) {}

// Links ------------------------------------------------------------------------------------------

void DataPlane::handle(Instant now, const LinkEvent& event) {
  now_ = now;
  if (const auto* frame = std::get_if<FrameArrived>(&event)) {
    Body body;
    if (sessions_.handle(now, *frame, body)) handle_message(now, frame->link, body);
    fetcher_.handle_sources_changed();
  } else if (const auto* granted = std::get_if<Granted>(&event)) {
    fetcher_.handle(now, *granted);
  } else if (const auto* landed = std::get_if<Landed>(&event)) {
    fetcher_.handle(now, *landed);
  } else if (const auto* revoked = std::get_if<Revoked>(&event)) {
    fetcher_.handle(now, *revoked);
  } else if (const auto* done = std::get_if<WriteDone>(&event)) {
    supplier_.handle(now, *done);
  } else if (const auto* down = std::get_if<LinkDown>(&event)) {
    handle_link_down(now, *down);
  } else if (const auto* up = std::get_if<LinkUp>(&event)) {
    sessions_.handle(now, *up);
  } else if (const auto* failed = std::get_if<DialFailed>(&event)) {
    sessions_.handle(now, *failed);
  } else if (const auto* state = std::get_if<TransportState>(&event)) {
    sessions_.handle(now, *state);
  }
  note_transfers(now);
  handle_released();
}

void DataPlane::handle_message(Instant now, const LinkId& link, const Body& body) {
  if (const auto* want = std::get_if<Want>(&body)) {
    supplier_.handle(now, link, *want);
  } else if (const auto* refuse = std::get_if<Refuse>(&body)) {
    fetcher_.handle(now, link, *refuse);
  } else if (const auto* cancel = std::get_if<Cancel>(&body)) {
    supplier_.handle(now, link, *cancel);
  } else if (const auto* bad = std::get_if<PieceBad>(&body)) {
    keeper_.suspect(bad->generation, bad->piece);
  }
}

void DataPlane::handle_link_down(Instant now, const LinkDown& event) {
  fetcher_.handle_link_down(now, event.link);
  supplier_.handle_link_down(event.link);
  sessions_.handle(now, event);
}

void DataPlane::note_transfers(Instant now) {
  for (Fetcher::Arrival each; fetcher_.poll_arrival(each);) {
    transfers_.note(now, {.generation = each.generation,
                          .peer = each.from,
                          .transport = each.transport,
                          .incoming = true,
                          .bytes = each.bytes,
                          .lag = each.waited});
  }
  for (Supplier::Departure each; supplier_.poll_departure(each);) {
    transfers_.note(now, {.generation = each.generation,
                          .peer = each.to,
                          .transport = each.transport,
                          .incoming = false,
                          .bytes = each.bytes,
                          .lag = each.lag});
    if (now - progress_at_ < progress_every) continue;
    progress_at_ = now;
    (void)progress_.push(each.generation);
  }
}

// Store and Overlay ------------------------------------------------------------------------------

void DataPlane::handle(Instant now, const content::ToWorker& message) {
  now_ = now;
  if (const auto* ready = std::get_if<content::PieceReady>(&message)) {
    catalog_.handle(now, *ready);
  } else if (const auto* failed = std::get_if<content::PieceFailed>(&message)) {
    catalog_.handle(now, *failed);
  } else if (const auto* retire = std::get_if<content::Retire>(&message)) {
    catalog_.handle(now, *retire);
    keeper_.handle(now, *retire);
  } else if (const auto* revalidate = std::get_if<content::Revalidate>(&message)) {
    catalog_.handle(now, *revalidate);
  } else if (const auto* answer = std::get_if<content::LookupAnswer>(&message)) {
    keeper_.handle(now, *answer);
  }
  handle_woken(now);
  handle_released();
}

void DataPlane::handle_woken(Instant now) {
  for (content::Catalog::Woken woken; catalog_.poll_woken(woken);) {
    if (woken.waiter < Keeper::waiters(config_)) {
      keeper_.handle_woken(now, woken);
    } else {
      supplier_.handle_woken(now, woken);
    }
  }
}

void DataPlane::handle_released() {
  for (content::ChunkIndex chunk; pins_.poll_released(chunk);) catalog_.handle_released(chunk);
}

void DataPlane::handle(Instant now, const FromOverlay& message) {
  now_ = now;
  if (const auto* fetch = std::get_if<Fetch>(&message)) {
    fetcher_.handle(now, *fetch);
  } else if (const auto* read = std::get_if<DiskRead>(&message)) {
    fetcher_.handle(now, *read);
  } else if (const auto* readers = std::get_if<Readers>(&message)) {
    handle_readers(now, *readers);
  }
}

void DataPlane::handle_load(Instant now, uint64_t client_tx_bytes) {
  supplier_.handle_load(now, client_tx_bytes);
}

void DataPlane::handle_timeout(Instant now) {
  now_ = now;
  sessions_.handle_timeout(now);
  fetcher_.handle_timeout(now);
  supplier_.handle_timeout(now);
  keeper_.handle_timeout(now);
  handle_woken(now);
  handle_released();
  if (leaving_due_ <= now) look_for_readers(now);
  counters_.set(Counter::replica_peers_up, sessions_.peers_up());
}

Instant DataPlane::next_timeout() const {
  return std::min({sessions_.next_timeout(), fetcher_.next_timeout(), supplier_.next_timeout(),
                   keeper_.next_timeout(), leaving_due_});
}

// Tasks ------------------------------------------------------------------------------------------

void DataPlane::describe(const Manifest& manifest) {
  leaving_.erase(manifest.generation);
  if (generations_.find(manifest.generation) != nullptr) return;
  (void)generations_.add(manifest);
  overlay_.push_back(Describe{.generation = manifest.generation,
                              .size_bytes = manifest.size_bytes,
                              .modified_unix_s = manifest.modified_unix_s,
                              .etag = manifest.etag(),
                              .path = PathText(manifest.path)});
}

void DataPlane::handle_task(Instant now, const Task& task, const Manifest* manifest) {
  now_ = now;
  if (const auto* ingest = std::get_if<IngestTask>(&task)) {
    keeper_.ingest(ingest->ticket, ingest->path);
  } else if (const auto* hold = std::get_if<HoldTask>(&task)) {
    const GenerationId id = hold->manifest.generation;
    describe(hold->manifest);
    generations_.find(id)->set_sources(hold->upstreams);
    keeper_.hold(now, id);
    fetcher_.handle_sources_changed();
  } else if (const auto* sources = std::get_if<SourcesTask>(&task)) {
    if (manifest != nullptr) describe(*manifest);
    KnownGeneration* generation = generations_.find(sources->generation);
    if (generation != nullptr) generation->set_sources(sources->upstreams);
    fetcher_.handle_sources_changed();
  } else if (const auto* release = std::get_if<ReleaseTask>(&task)) {
    if (release->forget) {
      leave(now, release->generation);
    } else {
      keeper_.release(release->generation);
    }
  } else if (const auto* redirect = std::get_if<RedirectTask>(&task)) {
    if (manifest != nullptr) describe(*manifest);
    overlay_.push_back(Redirect{PathText(redirect->path), redirect->generation});
  }
}

// Superseded ------------------------------------------------------------------------------------

void DataPlane::leave(Instant now, GenerationId id) {
  keeper_.linger(id);
  if (leaving_.size() >= superseded_max) {
    const auto oldest = std::min_element(
        leaving_.begin(), leaving_.end(),
        [](const auto& one, const auto& other) { return one.second.since < other.second.since; });
    counters_.add(Counter::replica_superseded_cut);
    forget(GenerationId(oldest->first));
  }
  leaving_[id] = {.since = now, .look_at = now + readers_first_asked};
  leaving_due_ = std::min(leaving_due_, now + readers_first_asked);
}

void DataPlane::look_for_readers(Instant now) {
  leaving_due_ = Instant::never();
  for (auto at = leaving_.begin(); at != leaving_.end();) {
    const GenerationId id = at->first;
    Leaving& leaving = at->second;
    ++at;  // forget() takes it out
    if (leaving.look_at <= now) {
      const KnownGeneration* generation = generations_.find(id);
      const bool is_wanted = generation != nullptr && generation->wanted_at > Instant() &&
                             now - generation->wanted_at < peer_reads_for;
      leaving.look_at = now + readers_asked_every;
      if (now - leaving.since >= superseded_kept_max) {
        counters_.add(Counter::replica_superseded_cut);
        forget(id);
        continue;
      }
      if (is_wanted || fetcher_.is_fetching(id)) {
        leaving.quiet = 0;
      } else if (!readers_asked_) {
        readers_asked_ = true;
        overlay_.push_back(AskReaders{id});
      } else {
        leaving.look_at = now + readers_retry;
      }
    }
    leaving_due_ = std::min(leaving_due_, leaving.look_at);
  }
  counters_.set(Counter::replica_superseded_kept, leaving_.size());
}

void DataPlane::handle_readers(Instant now, const Readers& readers) {
  readers_asked_ = false;
  const auto at = leaving_.find(readers.generation);
  if (at == leaving_.end()) return;  // it is needed again
  if (readers.are_there) {
    at->second.quiet = 0;
  } else if (++at->second.quiet == quiet_looks) {
    forget(readers.generation);
  }
  // Others may wait for their turn.
  leaving_due_ = std::min(leaving_due_, now + readers_retry);
}

void DataPlane::forget(GenerationId id) {
  keeper_.release(id);
  generations_.remove(id);
  overlay_.push_back(Forget{id});
  leaving_.erase(id);
}

// Output -----------------------------------------------------------------------------------------

bool DataPlane::poll_post(Instant now, Post& out) {
  return sessions_.poll_post(now, out) || fetcher_.poll_post(now, out) ||
         supplier_.poll_post(now, out) || sessions_.poll_record_part(now, out);
}

bool DataPlane::poll_message(content::ToStore& out) {
  return keeper_.poll_message(out) || catalog_.poll_message(out);
}

bool DataPlane::poll_overlay(ToOverlay& out) {
  if (overlay_.empty()) return fetcher_.poll_overlay(out);
  out = overlay_.front();
  overlay_.pop_front();
  return true;
}

std::vector<TransferRow> DataPlane::transfers() const {
  std::vector<TransferRow> rows = transfers_.rows(now_);
  for (TransferRow& row : rows) {
    const auto* generation = const_cast<Generations&>(generations_).find(row.generation);
    if (generation == nullptr) continue;
    row.path = generation->path;
    row.bytes_total = generation->size_bytes;
  }
  return rows;
}

}  // namespace sluice::replica
