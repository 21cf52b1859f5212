// StreamMover: see stream/stream.h. Sockets are watched edge-triggered by one epoll, which is
// ready_fd(); a connection that may have something to do is in a list, and each turn serves each of
// the list with a bounded number of bytes.
//
//   stream_mover.cc  posts in, events out, the turn
//   joining.cc       dials, accepts and greets, until a link is up
//   transfer.cc      bytes of links that are up
#pragma once

#include <string>
#include <vector>

#include "base/bounded_queue.h"
#include "base/index_pool.h"
#include "base/siphash.h"
#include "mover/mover.h"
#include "mover/waiting.h"
#include "stream/connection.h"

namespace sluice::stream {

class StreamMover final : public mover::Mover {
 public:
  explicit StreamMover(const mover::Options& options);
  ~StreamMover() override = default;
  [[nodiscard]] Result<void> set_up();

  void submit(const replica::Post& post) override;
  [[nodiscard]] bool poll(replica::LinkEvent& out) override;
  [[nodiscard]] int ready_fd() const override { return epoll_.get(); }
  [[nodiscard]] bool prepare_to_sleep() override;
  [[nodiscard]] const mover::Counts& counts() const override { return counts_; }
  [[nodiscard]] bool poll_note(std::string& out) override;
  [[nodiscard]] const std::string& description() const override { return description_; }
  [[nodiscard]] const std::string& listening() const override { return listening_; }

 private:
  static constexpr uint32_t landed_waiting_max = 256;

  using Waiting = mover::Waiting;

  // stream_mover.cc
  void handle(const replica::Dial& post);
  void handle(const replica::SendFrame& post);
  void handle(const replica::Grant& post);
  void handle(const replica::Revoke& post);
  void handle(const replica::Write& post);
  void handle(const replica::Close& post);
  [[nodiscard]] uint32_t new_key();
  [[nodiscard]] Link* find_up(const replica::LinkId& id);
  void tell(const Waiting& event);
  [[nodiscard]] bool take(replica::LinkEvent& out);
  void take_frame(const Waiting& event, replica::LinkEvent& out);
  void turn();
  void collect();
  void tick(Instant now);
  void set_timer(bool on);
  void activate(Connection& connection);
  void end_link(uint32_t slot, replica::LinkEnd end, const char* why);
  void fail_link(uint32_t slot, const char* why);
  void free_link(uint32_t slot);
  void note(const std::string& line);
  [[nodiscard]] std::string peer_of(const Link& link) const;

  // joining.cc
  [[nodiscard]] Result<void> start_listening();
  void resume_listening();
  void accept_some();
  void make_room_for_accepted();
  [[nodiscard]] uint32_t take_connection(Descriptor socket, const mover::SocketAddress& peer);
  void close_connection(uint32_t index);
  void look_up(uint32_t slot);
  void dial_next_address(uint32_t slot, const char* why);
  [[nodiscard]] bool start_connecting(uint32_t slot, Role role, uint32_t lane,
                                      const mover::SocketAddress& to, const char*& why);
  void handle_connected(uint32_t index);
  void greet(Connection& connection, const Greeting& greeting);
  void handle_greeting(uint32_t index);
  void handle_dialled_answer(uint32_t index);
  void handle_control_greeting(uint32_t index);
  void handle_data_greeting(uint32_t index);
  void join(uint32_t slot, uint32_t index);
  void handle_connection_lost(uint32_t index, replica::LinkEnd end, const char* why);

  // transfer.cc
  void serve(uint32_t index);
  [[nodiscard]] bool send_some(uint32_t index);
  [[nodiscard]] bool read_some(uint32_t index);
  [[nodiscard]] bool handle_read(uint32_t index, Reader::Outcome outcome);
  [[nodiscard]] bool may_read(const Connection& connection) const;
  void read_notices(Connection& connection);
  void tell_done(const Connection& connection);
  void count_sent(const void* from, size_t bytes);

  mover::Options options_;
  mover::Counts counts_;
  std::string description_;
  std::string listening_;
  Descriptor epoll_;
  Descriptor timer_;
  Descriptor listener_;
  bool listener_paused_ = false;
  bool accepts_ = false;  // something waits at the listener
  bool timer_on_ = false;
  uint32_t joining_ = 0;         // links and connections with a deadline
  uint32_t landed_waiting_ = 0;  // events of that kind
  Instant next_tick_;
  SipKey key_secret_;
  uint64_t keys_made_ = 0;
  const Grants no_grants_;  // of connections without a link
  std::vector<Connection> connections_;
  IndexPool connections_free_;
  std::vector<Link> links_;
  IndexPool links_free_;
  std::vector<uint32_t> active_;
  std::vector<uint32_t> serving_;
  BoundedQueue<Waiting> waiting_;
  BoundedQueue<std::string> notes_;
  std::vector<std::byte> trash_;
  uint32_t serial_next_ = 1;
};

}  // namespace sluice::stream
