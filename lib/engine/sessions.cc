#include "engine/sessions.h"

#include <array>
#include <cstring>

namespace sluice::engine {
namespace {

using content::ChunkIndex;
using content::LookupAnswer;
using content::LookupStatus;
using content::ObjectHandle;
using stats::Counter;
using tcp::ConnectionIndex;

// A head and a body.
constexpr uint32_t spans_per_response = 2;

// Connections looked at for one that may give its receive buffer back.
constexpr uint32_t buffer_search_max = 64;

constexpr std::string_view index_name = "index.html";

static_assert(http::emit_max_bytes == content::head_slot_bytes);

http::HeadBuffer head_of(const content::HeadSlots& slots, ChunkIndex slot) {
  return http::HeadBuffer(reinterpret_cast<char*>(slots.bytes(slot).data()), http::emit_max_bytes);
}

}  // namespace

Sessions::Sessions(const SessionConfig& config, uint32_t connections_max, tcp::Stack& tcp,
                   content::Catalog& catalog, content::HeadSlots& slots, FirstByteClock& first_byte,
                   stats::Counters& counters)
    : config_(config),
      tcp_(tcp),
      catalog_(catalog),
      slots_(slots),
      first_byte_(first_byte),
      counters_(counters),
      sessions_(connections_max),
      exchanges_(exchanges_for(connections_max)),
      exchange_pool_(exchanges_for(connections_max)),
      lookups_(config.lookups_max, exchanges_for(connections_max)),
      overload_head_(slots.set_aside()),
      slot_queue_(connections_max),
      slots_reserved_(slots.available() / 2) {
  if (overload_head_.is_none()) return;
  overload_head_bytes_ =
      static_cast<uint32_t>(http::emit_overloaded(head_of(slots, overload_head_)));
}

// Life
// ----------------------------------------------------------------------------------------------

// Returns nullptr when all are taken.
Sessions::Exchange* Sessions::take_exchange(uint32_t index) {
  Session& session = sessions_[index];
  if (session.exchange == none) {
    session.exchange = exchange_pool_.take();
    if (session.exchange == none) {
      counters_.add(Counter::session_exchanges_exhausted);
      return nullptr;
    }
    exchanges_[session.exchange] = {.body = {}, .progress = {}, .connection = index};
  }
  return &exchanges_[session.exchange];
}

void Sessions::release_exchange(uint32_t index) {
  Session& session = sessions_[index];
  if (session.exchange == none) return;
  lookups_.cancel(session.exchange);
  exchange_pool_.give_back(session.exchange);
  session.exchange = none;
}

void Sessions::open(Instant now, uint32_t index) {
  Session& session = sessions_[index];
  if (session.state != State::closed) return;
  const bool queued = session.queued;
  session = {};
  session.queued = queued;
  session.state = State::reading;
  tcp_.set_deadline(now, ConnectionIndex(index), config_.idle_timeout);
}

void Sessions::handle_event(Instant now, const tcp::Event& event) {
  const uint32_t index = event.connection.value();
  Session& session = sessions_[index];
  switch (event.kind) {
    case tcp::EventKind::accepted:
      open(now, index);
      return;
    case tcp::EventKind::peer_closed:
      open(now, index);
      session.peer_closed = true;
      break;
    case tcp::EventKind::acknowledged:
      break;
    case tcp::EventKind::deadline:
      handle_deadline(now, index);
      return;
    case tcp::EventKind::closed:
      release_exchange(index);
      first_byte_.forget(index);
      session.state = State::closed;
      return;
  }
  if (session.state == State::reading) {
    run(now, event.connection, tcp_.readable(event.connection), nullptr);
  }
}

void Sessions::handle_received(Instant now, const tcp::Received& received) {
  const uint32_t index = received.connection.value();
  open(now, index);
  Session& session = sessions_[index];
  if (session.state == State::reading) {
    run(now, received.connection, received.readable, nullptr);
  } else {
    // A request that is being answered stays where it is; after the last one, all is swallowed.
    const bool swallow = session.state == State::lingering;
    tcp_.consume(received.connection,
                 swallow ? static_cast<uint32_t>(received.readable.size()) : 0);
  }
}

void Sessions::handle_answer(Instant now, const LookupAnswer& message) {
  if (!lookups_.is_open(message.ticket)) return;
  const Lookups::Answered asked = lookups_.answered(message.ticket);
  const Answer answer{asked.key, message.status};
  if (message.status == LookupStatus::found) {
    (void)catalog_.insert(now, asked.key, message.info, config_.media_types->of(asked.path));
  } else if (message.status != LookupStatus::busy && message.status != LookupStatus::io_error) {
    catalog_.forget_path(asked.key);
  }
  // Bounded: each turn answers at least one buffered request.
  for (uint32_t waiter = lookups_.next_waiter(message.ticket); waiter != Lookups::none;
       waiter = lookups_.next_waiter(message.ticket)) {
    const uint32_t index = exchanges_[waiter].connection;
    ASSERT(sessions_[index].state == State::waiting_lookup);
    sessions_[index].state = State::reading;
    const ConnectionIndex connection(index);
    run(now, connection, tcp_.readable(connection), &answer);
  }
  lookups_.finish(message.ticket);
}

void Sessions::handle_slots_free(Instant now) {
  for (size_t n = slot_queue_.size(); n > 0 && slots_.available() > 0; --n) {
    uint32_t index;
    if (!slot_queue_.pop(index)) return;
    Session& session = sessions_[index];
    session.queued = false;
    if (session.state != State::waiting_slot) continue;
    session.state = State::reading;
    const ConnectionIndex connection(index);
    run(now, connection, tcp_.readable(connection), nullptr);
  }
}

void Sessions::handle_deadline(Instant now, uint32_t index) {
  Session& session = sessions_[index];
  const ConnectionIndex connection(index);
  const bool in_request = session.partial || is_draining_body(session);
  if (session.state == State::waiting_slot && refuse_overloaded(now, connection)) return;
  if (session.state != State::reading || tcp_.bytes_unacknowledged(connection) > 0) {
    // Waiting for the Store, or still sending: TCP's user timeout judges a stalled reader.
    tcp_.set_deadline(now, ConnectionIndex(index), config_.idle_timeout);
  } else if (in_request) {
    counters_.add(Counter::session_request_timeouts);
    if (tcp_.spans_free(connection) >= spans_per_response && slots_.available() > 0) {
      (void)respond_error(now, connection, http::Status::request_timeout, {});
    }
    finish(now, connection);
  } else {
    counters_.add(Counter::session_idle_timeouts);
    finish(now, connection);
  }
}

// New requests give way to running responses: 503 with Retry-After, and the end of the connection.
// Returns false when not even that can be queued.
bool Sessions::refuse_overloaded(Instant now, ConnectionIndex connection) {
  if (overload_head_.is_none() || tcp_.bytes_unacknowledged(connection) > 0) return false;
  slots_.pin(overload_head_);
  if (!tcp_.send_slot(connection, overload_head_, 0, overload_head_bytes_)) {
    slots_.unpin(overload_head_);
    return false;
  }
  counters_.add(Counter::session_requests_shed);
  counters_.add(Counter::http_responses);
  counters_.add(http::counter_of(http::Status::service_unavailable));
  finish(now, connection);
  return true;
}

void Sessions::handle_buffers_short(Instant now) {
  ConnectionIndex connection = tcp_.next_buffered(ConnectionIndex::none());
  for (uint32_t steps = 0; steps < buffer_search_max && !connection.is_none(); ++steps) {
    const Session& session = sessions_[connection.value()];
    if (session.state == State::reading && !session.peer_closed) {
      counters_.add(Counter::session_buffers_shed);
      const bool answers = session.partial && tcp_.bytes_unacknowledged(connection) == 0 &&
                           tcp_.spans_free(connection) >= spans_per_response &&
                           slots_.available() > 0;
      if (answers) {
        (void)respond_error(now, connection, http::Status::request_timeout, {});
      }
      // A response that is under way ends whole; what was asked behind it is not answered.
      finish(now, connection);
      return;
    }
    connection = tcp_.next_buffered(connection);
  }
}

void Sessions::begin_drain(Instant now) {
  draining_ = true;
  for (uint32_t index = 0; index < sessions_.size(); ++index) {
    const Session& session = sessions_[index];
    const ConnectionIndex connection(index);
    if (session.state != State::reading || session.partial) continue;
    // The response that is still being sent did not say so, but it ends the connection all the
    // same.
    finish(now, connection);
  }
}

// No more requests on this connection: FIN behind what is queued, then swallow what still comes.
// From here on TCP's own timers watch over it.
void Sessions::finish(Instant now, ConnectionIndex connection) {
  Session& session = sessions_[connection.value()];
  session.state = State::lingering;
  tcp_.clear_deadline(connection);
  release_exchange(connection.value());
  tcp_.close(now, connection);
}

// Requests
// ------------------------------------------------------------------------------------------

void Sessions::run(Instant now, ConnectionIndex connection, Bytes readable, const Answer* answer) {
  Session& session = sessions_[connection.value()];
  size_t consumed = run_requests(now, connection, as_text(readable), answer);
  if (session.state == State::reading && session.peer_closed &&
      (session.partial || consumed == readable.size())) {
    finish(now, connection);  // nothing more can come, and what is there will never be whole
  }
  if (session.state == State::lingering) consumed = readable.size();
  tcp_.consume(connection, static_cast<uint32_t>(consumed));
  if (session.state == State::reading && !session.partial && !is_draining_body(session)) {
    release_exchange(connection.value());
  }
  // No buffer was free to keep the rest: the client sends it again, and it is parsed from its
  // start.
  if (session.exchange != none && tcp_.readable(connection).size() < readable.size() - consumed) {
    exchanges_[session.exchange].progress = {};
  }
}

// Returns how many bytes are done with.
size_t Sessions::run_requests(Instant now, ConnectionIndex connection, std::string_view readable,
                              const Answer* answer) {
  const uint32_t index = connection.value();
  Session& session = sessions_[index];
  std::string_view rest = readable;
  // Bounded: every turn takes at least one byte off `rest`, or ends.
  while (session.state == State::reading) {
    if (is_draining_body(session)) {
      http::BodyDrain& body = exchanges_[session.exchange].body;
      const size_t drained = body.drain(rest);
      counters_.add(Counter::http_body_drained_bytes, drained);
      rest.remove_prefix(drained);
      if (body.state() == http::DrainState::more) break;
    }
    if (is_draining_body(session)) {
      counters_.add(Counter::http_body_failed);
      finish(now,
             connection);  // its response went out already; where the next request is, nobody knows
      break;
    }
    if (rest.empty()) break;
    // Its send queue is full, or the stack's are all taken: `acknowledged` will tell, unless the
    // client can be told to come back.
    if (tcp_.spans_free(connection) < spans_per_response) {
      (void)refuse_overloaded(now, connection);
      break;
    }
    // The last slots are for connections that have nothing under way: pipelining, or refusing to
    // read, must not take everybody's.
    if (slots_.available() <= slots_reserved_ && tcp_.bytes_unacknowledged(connection) > 0) break;

    http::Request request;
    http::ParseProgress progress;
    if (session.exchange != none) progress = exchanges_[session.exchange].progress;
    const http::ParseResult parsed = http::parse_request(rest, progress, request);
    if (parsed.state == http::ParseState::incomplete) {
      if (!session.partial) tcp_.set_deadline(now, ConnectionIndex(index), config_.request_timeout);
      session.partial = true;
      // Without one it is parsed from its start each time.
      if (Exchange* exchange = take_exchange(index)) exchange->progress = progress;
      break;
    }
    if (tcp_.bytes_unacknowledged(connection) == 0) first_byte_.begin(now, index);
    Outcome outcome;
    if (parsed.state == http::ParseState::rejected) {
      counters_.add(http::counter_of(parsed.rejection));
      outcome = respond_error(now, connection, http::status_of(parsed.rejection),
                              {.is_head = parsed.is_head});
    } else {
      outcome = respond(now, connection, request, answer);
      if (outcome != Outcome::wait) counters_.add(Counter::http_requests);
    }
    if (session.exchange != none) exchanges_[session.exchange].progress = {};
    session.partial = false;
    if (outcome == Outcome::wait) break;
    session.starving = false;
    answer = nullptr;
    rest.remove_prefix(parsed.head_bytes);
    if (outcome == Outcome::last) {
      finish(now, connection);
      break;
    }
    if (const http::BodyDrain body(request, http::body_drain_max_bytes);
        body.state() != http::DrainState::done) {
      Exchange* exchange = take_exchange(index);
      if (exchange == nullptr) {
        finish(now, connection);  // nobody can tell where the next request begins
        break;
      }
      exchange->body = body;
    }
    tcp_.set_deadline(now, ConnectionIndex(index), config_.idle_timeout);
  }
  return readable.size() - rest.size();
}

Sessions::Outcome Sessions::respond(Instant now, ConnectionIndex connection,
                                    const http::Request& request, const Answer* answer) {
  const http::MethodPlan plan = http::plan_method(request);
  const http::AnswerOptions options = http::answer_options(request, plan.keep_alive && !draining_);
  switch (plan.action) {
    case http::MethodAction::serve:
      return respond_path(now, connection, request, options, answer);
    case http::MethodAction::refuse:
      return respond_error(now, connection, plan.status, options);
    case http::MethodAction::options:
      break;
  }
  const ChunkIndex slot = slots_.take();
  if (slot.is_none()) return wait_for_slot(now, connection);
  counters_.add(http::counter_of(http::Status::ok));
  return send_head(connection, slot, http::emit_options(options, date_, head_of(slots_, slot)),
                   options.keep_alive);
}

Sessions::Outcome Sessions::respond_path(Instant now, ConnectionIndex connection,
                                         const http::Request& request,
                                         const http::AnswerOptions& options, const Answer* answer) {
  std::array<char, path_max_bytes> buffer;
  const http::ResolvedTarget target = http::resolve_target(
      request, std::span<char>(buffer).first(path_max_bytes - index_name.size() - 1));
  if (target.status != http::Status::ok)
    return respond_error(now, connection, target.status, options);
  std::string_view path = target.path;
  const bool is_directory = target.is_directory || path.empty();
  if (is_directory) {
    size_t length = path.size();
    if (length > 0 && buffer[length - 1] != '/') buffer[length++] = '/';
    std::memcpy(buffer.data() + length, index_name.data(), index_name.size());
    path = {buffer.data(), length + index_name.size()};
  }
  const SipDigest key = siphash24_128(config_.path_key, as_byte_span(path));

  const ObjectHandle object = catalog_.find_path(now, key);
  if (!object.is_none())
    return respond_object(now, connection, request, object, options.keep_alive);

  if (answer == nullptr || !(answer->key == key)) {
    if (take_exchange(connection.value()) == nullptr ||
        !lookups_.ask(key, path, sessions_[connection.value()].exchange)) {
      counters_.add(Counter::session_lookups_refused);
      return respond_error(now, connection, http::Status::service_unavailable, options);
    }
    sessions_[connection.value()].state = State::waiting_lookup;
    return Outcome::wait;
  }
  switch (answer->status) {
    case LookupStatus::directory:
      if (is_directory) break;  // a directory named index.html
      return respond_redirect(now, connection, request, target.path, options);
    case LookupStatus::not_found:
      break;
    case LookupStatus::forbidden:
      return respond_error(now, connection, http::Status::forbidden, options);
    case LookupStatus::io_error:
      return respond_error(now, connection, http::Status::internal_server_error, options);
    case LookupStatus::found:  // and every entry of the catalog is in use
    case LookupStatus::busy:
      return respond_error(now, connection, http::Status::service_unavailable, options);
  }
  return respond_error(now, connection, http::Status::not_found, options);
}

Sessions::Outcome Sessions::wait_for_slot(Instant now, ConnectionIndex connection) {
  const uint32_t index = connection.value();
  Session& session = sessions_[index];
  if (!session.starving) tcp_.set_deadline(now, connection, config_.slot_patience);
  session.starving = true;
  session.state = State::waiting_slot;
  tcp_.shed_stalled(connection);
  counters_.add(Counter::session_slot_waits);
  if (!session.queued) {
    session.queued = true;
    const bool pushed = slot_queue_.push(index);
    ASSERT(pushed);  // each session is in the queue once
  }
  return Outcome::wait;
}

Sessions::Outcome Sessions::send_head(ConnectionIndex connection, ChunkIndex slot, size_t length,
                                      bool keep_alive) {
  ASSERT(length > 0 && length <= content::head_slot_bytes);
  const bool queued = tcp_.send_slot(connection, slot, 0, static_cast<uint32_t>(length));
  ASSERT(queued);  // run_requests() saw room for a whole response
  counters_.add(Counter::http_responses);
  return keep_alive ? Outcome::done : Outcome::last;
}

Sessions::Outcome Sessions::respond_error(Instant now, ConnectionIndex connection,
                                          http::Status status, const http::AnswerOptions& options) {
  const ChunkIndex slot = slots_.take();
  if (slot.is_none()) return wait_for_slot(now, connection);
  counters_.add(http::counter_of(status));
  const size_t length = http::emit_error(status, options, date_, head_of(slots_, slot));
  return send_head(connection, slot, length, options.keep_alive);
}

Sessions::Outcome Sessions::respond_redirect(Instant now, ConnectionIndex connection,
                                             const http::Request& request, std::string_view path,
                                             const http::AnswerOptions& options) {
  const ChunkIndex slot = slots_.take();
  if (slot.is_none()) return wait_for_slot(now, connection);
  const http::Redirected redirected =
      http::emit_directory_redirect(request, path, options, date_, head_of(slots_, slot));
  counters_.add(http::counter_of(redirected.status));
  return send_head(connection, slot, redirected.bytes, options.keep_alive);
}

Sessions::Outcome Sessions::respond_object(Instant now, ConnectionIndex connection,
                                           const http::Request& request, ObjectHandle object,
                                           bool keep_alive) {
  const ChunkIndex slot = slots_.take();
  if (slot.is_none()) return wait_for_slot(now, connection);
  const content::ObjectInfo& info = catalog_.info(object);
  const http::Resource resource{.size_bytes = info.size_bytes,
                                .modified_unix_s = info.modified_unix_s,
                                .etag = info.etag,
                                .media_type = catalog_.label(object)};
  const http::ResponsePlan plan = http::plan_response(
      request, resource, {.now_unix_s = date_.unix_s(), .keep_alive = keep_alive});
  counters_.add(http::counter_of(plan.status));
  const size_t length = http::emit_response(plan, date_, head_of(slots_, slot));
  const Outcome outcome = send_head(connection, slot, length, keep_alive);
  if (plan.body.length_bytes > 0) {
    catalog_.acquire(object);
    const bool queued =
        tcp_.send_object(connection, object, plan.body.offset_bytes, plan.body.length_bytes);
    ASSERT(queued);
  }
  return outcome;
}

}  // namespace sluice::engine
