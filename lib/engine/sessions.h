// Sessions: HTTP/1.1 over the connections of one tcp::Stack.
//
// A session keeps no bytes, and an idle one next to nothing: what there is to know of half a
// request, of content to read past or of an answer awaited is an Exchange, from a bounded pool. A
// request is parsed where it lies, in the borrowed frame or in the connection's receive buffer.
// When the Store has to be asked first, the request stays in the receive buffer, unconsumed, and is
// parsed again when the answer has come: the path of a hit is the only path.
//
//              request whole            path known
//   reading  ------------------>  responding ---------> reading (next request), or lingering if it
//   is the last
//              |      ^                |
//              |      | answer         | path unknown, or no head slot free
//              |      +-- waiting <----+
//              +-- draining a request body --> reading
//
// lingering: our FIN follows the last response; what the client still sends is swallowed, so that
// no RST destroys the response on its way (RFC 9112 section 9.6).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "base/siphash.h"
#include "base/time.h"
#include "content/catalog.h"
#include "content/head_slots.h"
#include "content/message.h"
#include "engine/first_byte.h"
#include "engine/lookups.h"
#include "http/body_drain.h"
#include "http/head.h"
#include "http/http_date.h"
#include "http/media_types.h"
#include "http/request.h"
#include "http/request_parser.h"
#include "http/response.h"
#include "http/target.h"
#include "stats/counters.h"
#include "tcp/stack.h"

namespace sluice::engine {

struct SessionConfig {
  uint32_t lookups_max = 1024;      // paths asked of the Store at a time
  Duration request_timeout = 30_s;  // from a request's first byte to its last; then 408
  Duration idle_timeout = 65_s;     // between requests
  Duration slot_patience = 2_s;     // a request waits this long for a head slot; then 503
  SipKey path_key;                  // secret
  const http::MediaTypes* media_types = nullptr;
};

class Sessions {
 public:
  Sessions(const SessionConfig& config, uint32_t connections_max, tcp::Stack& tcp,
           content::Catalog& catalog, content::HeadSlots& slots, FirstByteClock& first_byte,
           stats::Counters& counters);

  /// Takes what handle_segment() returned, and consumes as much of it as it can.
  void handle_received(Instant now, const tcp::Received& received);
  void handle_event(Instant now, const tcp::Event& event);
  void handle_answer(Instant now, const content::LookupAnswer& answer);
  /// Head slots came free: goes on with those who wait for one.
  void handle_slots_free(Instant now);
  /// A segment was dropped because every receive buffer was taken: whoever has held one longest
  /// without a whole request in it gives it back, with 408.
  void handle_buffers_short(Instant now);
  [[nodiscard]] bool poll_lookup(content::Lookup& out) { return lookups_.poll(out); }

  /// To be told at least a few times a second: the Date field goes by it.
  void set_wall_clock(WallTime wall) { date_.set(wall.unix_seconds()); }
  void begin_drain(Instant now);
  [[nodiscard]] uint32_t lookups_open() const { return lookups_.in_use(); }

  [[nodiscard]] static uint64_t memory_bytes(const SessionConfig& config, uint32_t connections) {
    const uint64_t exchanges = exchanges_for(connections);
    return uint64_t{connections} * (sizeof(Session) + sizeof(uint32_t)) +  // slot queue
           exchanges * (sizeof(Exchange) + sizeof(uint32_t)) +
           Lookups::memory_bytes(config.lookups_max, exchanges_for(connections));
  }
  /// Bytes of one idle connection here.
  [[nodiscard]] static constexpr uint64_t idle_bytes() {
    return sizeof(Session) + sizeof(uint32_t);
  }

 private:
  enum class State : uint8_t { closed, reading, waiting_lookup, waiting_slot, lingering };
  static constexpr uint32_t none = IndexPool::none;
  struct Session {
    uint32_t exchange = none;
    State state = State::closed;
    bool partial : 1 = false;      // some bytes of a request have come
    bool peer_closed : 1 = false;  // the client sends no more
    bool queued : 1 = false;       // in slot_queue_
    bool starving : 1 = false;     // the deadline is that of waiting for a slot
  };
  static_assert(sizeof(Session) == 8);
  // What is to be remembered of a request until it is read and answered.
  struct Exchange {
    http::BodyDrain body;
    http::ParseProgress progress;
    uint32_t connection = none;
  };
  // Most connections are idle, or being sent to: neither takes an exchange.
  [[nodiscard]] static constexpr uint32_t exchanges_for(uint32_t connections) {
    const uint32_t share = connections / 16 > 4096 ? connections / 16 : 4096;
    return share < connections ? share : connections;
  }
  enum class Outcome : uint8_t {
    done,  // answered
    last,  // answered, and the connection ends with it
    wait,  // the request stays where it is until the session is run again
  };
  // What the Store said of a path.
  struct Answer {
    SipDigest key;
    content::LookupStatus status = content::LookupStatus::not_found;
  };

  void open(Instant now, uint32_t index);
  void run(Instant now, tcp::ConnectionIndex connection, Bytes readable, const Answer* answer);
  [[nodiscard]] size_t run_requests(Instant now, tcp::ConnectionIndex connection,
                                    std::string_view readable, const Answer* answer);
  [[nodiscard]] Outcome respond(Instant now, tcp::ConnectionIndex connection,
                                const http::Request& request, const Answer* answer);
  [[nodiscard]] Outcome respond_path(Instant now, tcp::ConnectionIndex connection,
                                     const http::Request& request,
                                     const http::AnswerOptions& options, const Answer* answer);
  [[nodiscard]] Outcome respond_object(Instant now, tcp::ConnectionIndex connection,
                                       const http::Request& request, content::ObjectHandle object,
                                       bool keep_alive);
  [[nodiscard]] Outcome respond_redirect(Instant now, tcp::ConnectionIndex connection,
                                         const http::Request& request, std::string_view path,
                                         const http::AnswerOptions& options);
  [[nodiscard]] Outcome respond_error(Instant now, tcp::ConnectionIndex connection,
                                      http::Status status, const http::AnswerOptions& options);
  [[nodiscard]] Outcome send_head(tcp::ConnectionIndex connection, content::ChunkIndex slot,
                                  size_t length, bool keep_alive);
  [[nodiscard]] Outcome wait_for_slot(Instant now, tcp::ConnectionIndex connection);
  [[nodiscard]] bool refuse_overloaded(Instant now, tcp::ConnectionIndex connection);
  void finish(Instant now, tcp::ConnectionIndex connection);
  void handle_deadline(Instant now, uint32_t index);
  [[nodiscard]] Exchange* take_exchange(uint32_t index);
  void release_exchange(uint32_t index);
  [[nodiscard]] bool is_draining_body(const Session& session) const {
    return session.exchange != none &&
           exchanges_[session.exchange].body.state() != http::DrainState::done;
  }

  SessionConfig config_;
  tcp::Stack& tcp_;
  content::Catalog& catalog_;
  content::HeadSlots& slots_;
  FirstByteClock& first_byte_;
  stats::Counters& counters_;

  FixedArray<Session> sessions_;
  FixedArray<Exchange> exchanges_;
  IndexPool exchange_pool_;
  Lookups lookups_;
  content::ChunkIndex overload_head_;  // 503, written once; none() where slots are that few
  uint32_t overload_head_bytes_ = 0;
  BoundedQueue<uint32_t> slot_queue_;
  uint32_t slots_reserved_;  // head slots that only a first response under way may take
  http::DateCache date_;
  bool draining_ = false;
};

}  // namespace sluice::engine
