#include "engine/sessions.h"

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

constexpr std::string_view index_name = "index.html";

std::span<char> chars(MutableBytes bytes) {
  return {reinterpret_cast<char*>(bytes.data()), bytes.size()};
}

}  // namespace

Sessions::Sessions(const SessionConfig& config, uint32_t connections_max, tcp::Stack& tcp,
                   content::Catalog& catalog, content::HeadSlots& slots, content::ChunkPins& pins,
                   stats::Counters& counters)
    : config_(config),
      tcp_(tcp),
      catalog_(catalog),
      slots_(slots),
      pins_(pins),
      counters_(counters),
      sessions_(connections_max),
      timers_(connections_max),
      lookups_(config.lookups_max, connections_max),
      slot_queue_(connections_max) {}

// Life ----------------------------------------------------------------------------------------------

// Timers are lazy: a later deadline is only noted, and taken up when the earlier one fires.
void Sessions::set_deadline(uint32_t index, Instant deadline) {
  Session& session = sessions_[index];
  const bool earlier = deadline < session.deadline;
  session.deadline = deadline;
  if (deadline.is_never()) return;
  if (earlier || !timers_.is_scheduled(index)) timers_.schedule(index, deadline);
}

void Sessions::open(Instant now, uint32_t index) {
  Session& session = sessions_[index];
  if (session.state != State::closed) return;
  const bool queued = session.queued;
  session = Session{};
  session.queued = queued;
  session.state = State::reading;
  session.deadline = Instant::never();
  set_deadline(index, now + config_.idle_timeout);
}

void Sessions::close_index(uint32_t index) {
  Session& session = sessions_[index];
  if (session.state == State::closed) return;
  lookups_.cancel(index);
  timers_.cancel(index);
  session.state = State::closed;
}

void Sessions::handle_event(Instant now, const tcp::Event& event) {
  const uint32_t index = event.connection.value();
  switch (event.kind) {
    case tcp::EventKind::accepted:
      open(now, index);
      break;
    case tcp::EventKind::acknowledged:
      if (sessions_[index].state == State::reading) {
        run(now, event.connection, tcp_.readable(event.connection), nullptr, nullptr);
      }
      break;
    case tcp::EventKind::peer_closed:
      open(now, index);
      sessions_[index].peer_closed = true;
      if (sessions_[index].state == State::reading) {
        run(now, event.connection, tcp_.readable(event.connection), nullptr, nullptr);
      }
      break;
    case tcp::EventKind::closed:
      catalog_.cancel_wait(index);
      close_index(index);
      break;
  }
}

void Sessions::handle_received(Instant now, const tcp::Received& received) {
  const uint32_t index = received.connection.value();
  open(now, index);
  Session& session = sessions_[index];
  if (session.state == State::lingering) {
    tcp_.consume(received.connection, static_cast<uint32_t>(received.readable.size()));
    return;
  }
  if (session.state != State::reading) {  // the request that is being answered stays where it is
    tcp_.consume(received.connection, 0);
    return;
  }
  run(now, received.connection, received.readable, nullptr, nullptr);
}

void Sessions::handle_answer(Instant now, const LookupAnswer& answer) {
  if (!lookups_.is_open(answer.ticket)) return;
  const Lookups::Answered asked = lookups_.answered(answer.ticket);
  const SipDigest key = asked.key;
  if (answer.status == LookupStatus::found) {
    const uint32_t label = config_.media_types->find(asked.path);
    (void)catalog_.insert(now, key, answer.info, label);
  } else {
    catalog_.forget_path(key);
  }
  // Bounded: those who wait now. Who asks again joins at the end, and is answered at the next turn.
  for (uint32_t waiter = lookups_.next_waiter(answer.ticket); waiter != Lookups::none;
       waiter = lookups_.next_waiter(answer.ticket)) {
    Session& session = sessions_[waiter];
    ASSERT(session.state == State::waiting_lookup);
    session.state = State::reading;
    const ConnectionIndex connection(waiter);
    run(now, connection, tcp_.readable(connection), &answer, &key);
  }
  lookups_.finish(answer.ticket);
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
    run(now, connection, tcp_.readable(connection), nullptr, nullptr);
  }
}

void Sessions::handle_timeout(Instant now) {
  for (uint32_t index = timers_.poll_expired(now); index != timer::TimerWheel::none;
       index = timers_.poll_expired(now)) {
    Session& session = sessions_[index];
    if (session.state == State::closed || session.deadline.is_never()) continue;
    if (session.deadline > now) {
      timers_.schedule(index, session.deadline);
      continue;
    }
    const ConnectionIndex connection(index);
    if (session.state == State::lingering) {
      counters_.add(Counter::http_linger_timeouts);
      tcp_.abort(now, connection);
    } else if (session.state == State::reading && tcp_.bytes_unacknowledged(connection) > 0) {
      // Still sending: the TCP user timeout judges the reader, not this one.
      set_deadline(index, now + config_.idle_timeout);
    } else if (session.state == State::reading && (session.partial || session.body.is_active())) {
      counters_.add(Counter::http_request_timeouts);
      if (respond_error(now, connection, http::Status::request_timeout, {.close = true}) ==
          Outcome::wait) {
        tcp_.abort(now, connection);
      } else {
        finish(now, connection);
      }
    } else if (session.state == State::reading) {
      counters_.add(Counter::http_idle_timeouts);
      finish(now, connection);
    } else {
      set_deadline(index, now + config_.idle_timeout);  // waiting for the Store or for a slot
    }
  }
}

void Sessions::begin_drain(Instant now) {
  draining_ = true;
  for (uint32_t index = 0; index < sessions_.size(); ++index) {
    Session& session = sessions_[index];
    const ConnectionIndex connection(index);
    if (session.state != State::reading || session.partial || session.body.is_active()) continue;
    if (tcp_.bytes_unacknowledged(connection) == 0) finish(now, connection);
  }
}

// No more requests on this connection: FIN behind what is queued, then swallow what still comes.
void Sessions::finish(Instant now, ConnectionIndex connection) {
  Session& session = sessions_[connection.value()];
  session.state = State::lingering;
  tcp_.close(now, connection);
  // The deadline starts when everything is acknowledged; see handle_timeout. While the response is being
  // sent, TCP's own timers watch over it.
  set_deadline(connection.value(), Instant::never());
}

// Requests ------------------------------------------------------------------------------------------

void Sessions::run(Instant now, ConnectionIndex connection, Bytes readable,
                   const LookupAnswer* answer, const SipDigest* answer_key) {
  const uint32_t index = connection.value();
  Session& session = sessions_[index];
  std::string_view rest = as_text(readable);
  const size_t all = rest.size();

  // Bounded: every turn takes at least one byte off `rest`, or ends.
  while (session.state == State::reading) {
    if (session.body.is_active()) {
      const http::DrainResult drained = session.body.consume(rest);
      rest.remove_prefix(drained.consumed);
      if (drained.status == http::DrainStatus::bad) {
        counters_.add(Counter::http_bad_bodies);
        finish(now, connection);  // the response went out already: say no more
        break;
      }
      if (drained.status == http::DrainStatus::more) break;
    }
    if (rest.empty() || tcp_.spans_free(connection) < spans_per_response) break;

    http::Request request;
    const http::ParseResult parsed = http::parse_request(rest, session.progress, request);
    if (parsed.outcome == http::ParseOutcome::incomplete) {
      if (!session.partial) set_deadline(index, now + config_.request_timeout);
      session.partial = true;
      break;
    }
    Outcome outcome;
    if (parsed.outcome == http::ParseOutcome::reject) {
      counters_.add(Counter::http_requests_rejected);
      outcome = respond_error(now, connection, parsed.status, {.close = true});
      if (outcome == Outcome::done) outcome = Outcome::last;
    } else {
      outcome = respond(now, connection, request, answer, answer_key);
    }
    if (outcome == Outcome::wait) {
      session.progress = {};
      break;
    }
    counters_.add(Counter::http_requests);
    session.progress = {};
    session.partial = false;
    answer = nullptr;
    rest.remove_prefix(parsed.head_bytes);
    if (outcome == Outcome::last) {
      finish(now, connection);
      break;
    }
    session.body = http::BodyDrain(request);
    set_deadline(index, now + config_.idle_timeout);
  }

  if (session.state == State::reading && session.peer_closed && rest.empty()) {
    finish(now, connection);
  } else if (session.state == State::reading && session.peer_closed && session.partial) {
    finish(now, connection);  // a request that will never be whole
  }
  if (session.state == State::lingering) rest = {};
  tcp_.consume(connection, static_cast<uint32_t>(all - rest.size()));
}

Sessions::Outcome Sessions::respond(Instant now, ConnectionIndex connection,
                                    const http::Request& request, const LookupAnswer* answer,
                                    const SipDigest* answer_key) {
  const bool keep_alive = request.keep_alive && !draining_;
  const http::ErrorOptions error_options{.close = !keep_alive,
                                         .head_only = request.method == http::Method::head};
  const auto refuse = [&](http::Status status) {
    return respond_error(now, connection, status, error_options);
  };

  std::array<char, path_max_bytes> buffer;
  const http::Target target = http::resolve_target(request, buffer);
  if (target.status != http::Status::ok) return refuse(target.status);
  std::string_view path = target.path;
  if (path.empty() || path.back() == '/') {
    if (path.size() + index_name.size() > buffer.size()) return refuse(http::Status::uri_too_long);
    std::memcpy(buffer.data() + path.size(), index_name.data(), index_name.size());
    path = {buffer.data(), path.size() + index_name.size()};
  }
  const SipDigest key = siphash24_128(config_.path_key, as_byte_span(path));

  const ObjectHandle object = catalog_.find_path(now, key);
  if (!object.is_none()) return respond_object(now, connection, request, object, keep_alive);

  if (answer == nullptr || !(*answer_key == key)) {
    if (!lookups_.ask(key, path, connection.value())) {
      counters_.add(Counter::http_lookups_refused);
      return refuse(http::Status::service_unavailable);
    }
    sessions_[connection.value()].state = State::waiting_lookup;
    return Outcome::wait;
  }
  switch (answer->status) {
    case LookupStatus::found:
    case LookupStatus::busy:
      // Found, but no entry of the catalog is free; or a table of the Store is full.
      return refuse(http::Status::service_unavailable);
    case LookupStatus::directory: {
      if (target.trailing_slash || target.path.empty()) return refuse(http::Status::not_found);
      const ChunkIndex slot = slots_.take();
      if (slot.is_none()) return wait_for_slot(connection.value());
      const size_t length =
          http::emit_redirect(request, wall(now), keep_alive, chars(slots_.bytes(slot)));
      return send_head(connection, slot, length, keep_alive);
    }
    case LookupStatus::not_found:
      return refuse(http::Status::not_found);
    case LookupStatus::forbidden:
      return refuse(http::Status::forbidden);
    case LookupStatus::io_error:
      return refuse(http::Status::internal_server_error);
  }
  return refuse(http::Status::internal_server_error);
}

Sessions::Outcome Sessions::wait_for_slot(uint32_t index) {
  Session& session = sessions_[index];
  session.state = State::waiting_slot;
  counters_.add(Counter::http_slot_waits);
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
  // run() saw room for two spans.
  const bool queued = tcp_.send_slot(connection, slot, 0, static_cast<uint32_t>(length));
  ASSERT(queued);
  counters_.add(Counter::http_responses);
  return keep_alive ? Outcome::done : Outcome::last;
}

Sessions::Outcome Sessions::respond_error(Instant now, ConnectionIndex connection,
                                          http::Status status, const http::ErrorOptions& options) {
  const ChunkIndex slot = slots_.take();
  if (slot.is_none()) return wait_for_slot(connection.value());
  const size_t length = http::emit_error(status, options, wall(now), chars(slots_.bytes(slot)));
  return send_head(connection, slot, length, !options.close);
}

Sessions::Outcome Sessions::respond_object(Instant now, ConnectionIndex connection,
                                           const http::Request& request, ObjectHandle object,
                                           bool keep_alive) {
  const ChunkIndex slot = slots_.take();
  if (slot.is_none()) return wait_for_slot(connection.value());
  const content::ObjectInfo& info = catalog_.info(object);
  const http::Resource resource{.size_bytes = info.size_bytes,
                                .modified_unix_s = info.modified_unix_s,
                                .etag = info.etag,
                                .media_type = config_.media_types->name(catalog_.label(object))};
  const http::ResponsePlan plan = http::plan_response(request, resource, keep_alive, wall(now));
  const size_t length = http::emit_head(plan, wall(now), chars(slots_.bytes(slot)));
  const Outcome outcome = send_head(connection, slot, length, keep_alive);
  if (plan.body_bytes > 0) {
    catalog_.acquire(object);
    const bool queued =
        tcp_.send_object(connection, object, plan.body_offset_bytes, plan.body_bytes);
    ASSERT(queued);
  }
  return outcome;
}

}  // namespace sluice::engine
