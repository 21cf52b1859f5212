// RdmaMover: frames by SEND on a control queue pair, pieces by RDMA WRITE WITH IMMEDIATE on data
// queue pairs, connected by rdma_cm so that device, GID, RoCE version and MTU follow the IP route.
//
//   posts  --> gathered, one doorbell a lane and turn
//   events <-- completions, looked at while there are any, else woken by the completion channel
//
//   rdma_mover.cc   posts in, events out, the turn
//   granting.cc     where peers may write
//   devices.cc      devices that come and go; what is listened on
//   joining.cc      rdma_cm: dials, until a link is up
//   accepting.cc    rdma_cm: the requests of peers
//   completions.cc  what completed
//   ending.cc       the first error is kept; all that is posted comes back; destroyed; LinkDown
//
// Invariant: LinkDown is told only when no queue pair of the link is left, and none of its windows
// or regions: nothing of its peer can reach memory any more.
//
// One thread uses it; device_watch.h has another, which makes Devices and hands them over.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bounded_queue.h"
#include "base/index_pool.h"
#include "mover/descriptor.h"
#include "mover/mover.h"
#include "mover/waiting.h"
#include "rdma/device_watch.h"
#include "rdma/link.h"

namespace sluice::rdma {

class RdmaMover final : public mover::Mover {
 public:
  explicit RdmaMover(const mover::Options& options);
  ~RdmaMover() override;
  [[nodiscard]] Result<void> set_up();

  void submit(const replica::Post& post) override;
  [[nodiscard]] bool poll(replica::LinkEvent& out) override;
  [[nodiscard]] int ready_fd() const override { return epoll_.get(); }
  [[nodiscard]] bool prepare_to_sleep() override;
  [[nodiscard]] const mover::Counts& counts() const override { return counts_; }
  [[nodiscard]] bool poll_note(std::string& out) override { return notes_.pop(out); }
  [[nodiscard]] const std::string& description() const override { return description_; }
  [[nodiscard]] const std::string& listening() const override { return listening_; }

 private:
  using Waiting = mover::Waiting;

  // rdma_mover.cc
  void handle(const replica::Dial& post);
  void handle(const replica::SendFrame& post);
  void handle(const replica::Write& post);
  void handle(const replica::Close& post);
  void count_taken(const Link& link, std::span<const ibv_send_wr> requests);
  [[nodiscard]] Link* find_up(const replica::LinkId& id);
  void tell(const Waiting& event);
  [[nodiscard]] bool take(replica::LinkEvent& out);
  void take_frame(const Waiting& event, replica::LinkEvent& out);
  void turn();
  void collect();
  void tick(Instant now);
  void set_timer(bool on);
  void note(const std::string& line);
  [[nodiscard]] Result<void> watch(int descriptor);
  [[nodiscard]] ibv_send_wr& gather(Link& link, QueuePair& pair, const ibv_send_wr& request);
  void flush(uint32_t slot);

  // granting.cc
  void handle(const replica::Grant& post);
  void handle(const replica::Revoke& post);
  void grant_by_window(Link& link, uint32_t slot, uint32_t number, MutableBytes memory);
  void grant_by_region(Link& link, uint32_t slot, uint32_t number, MutableBytes memory);
  void begin_grant(Link& link, GrantSlot& grant, GrantSlot::State state);
  void end_grant(Link& link, GrantSlot& grant);

  // devices.cc
  [[nodiscard]] Device* device_of(ibv_context* context, const char*& why);
  void handle_device_changes();
  void adopt(std::unique_ptr<Device> device);
  [[nodiscard]] Result<void> open_channel();
  void keep_listening();
  [[nodiscard]] Result<void> start_listening();
  void update_state();
  [[nodiscard]] bool take_state(replica::LinkEvent& out);
  void end_links_of(const Device& device, const std::string& why);
  void note_gone(ibv_context* context);
  void remove_gone();
  void remove_device(ibv_context* context);

  // joining.cc
  void look_up(uint32_t slot);
  void dial_next_address(uint32_t slot, const char* why);
  [[nodiscard]] bool start_resolving(uint32_t slot, QueuePair& pair);
  void handle_cm_events();
  void handle_cm_event(rdma_cm_event_type kind, int status, rdma_cm_id* id, rdma_cm_id* listener,
                       Bytes private_data);
  void handle_resolved(QueuePair& pair);
  void handle_routed(QueuePair& pair);
  void handle_established(QueuePair& pair, Bytes private_data);
  void handle_failed(QueuePair& pair, rdma_cm_event_type kind, int status);
  [[nodiscard]] bool prepare(uint32_t slot, QueuePair& pair, const char*& why);
  [[nodiscard]] bool prepare_link(uint32_t slot, Device& device, const char*& why);
  [[nodiscard]] bool post_receives(Link& link, QueuePair& pair);
  void join(uint32_t slot, QueuePair& pair);
  [[nodiscard]] std::unique_ptr<QueuePair> make_pair(uint32_t slot, Role role, uint8_t lane) const;

  // accepting.cc
  void handle_request(rdma_cm_id* id, Bytes private_data);
  [[nodiscard]] bool accept_control(rdma_cm_id* id, const Introduction& asked);
  [[nodiscard]] bool accept_data(rdma_cm_id* id, const Introduction& asked);

  // completions.cc
  void handle_completion_events(Device& device);
  void reap(uint32_t slot);
  void handle(uint32_t slot, const ibv_wc& completion);
  void handle_success(uint32_t slot, QueuePair& pair, Request kind, uint32_t number,
                      const ibv_wc& completion);
  void handle_received(uint32_t slot, QueuePair& pair, Request kind, uint32_t number,
                       const ibv_wc& completion);
  void handle_error(uint32_t slot, QueuePair& pair, Request kind, const ibv_wc& completion);
  [[nodiscard]] bool post_landing(QueuePair& pair);
  [[nodiscard]] bool post_frame_in(Link& link, uint32_t number);

  // ending.cc
  void handle_device_events(Device& device);
  void end_link(uint32_t slot, replica::LinkEnd reason, const std::string& why);
  void start_draining(uint32_t slot);
  [[nodiscard]] bool is_drained(const Link& link) const;
  void finish_end(uint32_t slot);
  void fail_link(uint32_t slot, const char* why);
  void destroy(Link& link);
  void destroy(QueuePair& pair);
  void free_link(uint32_t slot);

  const Verbs* verbs_ = nullptr;  // from the first device on
  mover::Options options_;
  mover::Counts counts_;
  std::string description_;
  std::string listening_;
  mover::Descriptor epoll_;
  mover::Descriptor timer_;
  bool timer_on_ = false;
  uint32_t timed_ = 0;  // links with a deadline
  Instant next_tick_;
  rdma_event_channel* channel_ = nullptr;
  rdma_cm_id* listener_ = nullptr;
  std::map<ibv_context*, std::unique_ptr<Device>> devices_;
  std::vector<ibv_context*> gone_;  // to be let go of within the turn
  Instant listen_at_;               // not before
  std::string why_not_listening_;
  bool is_usable_ = true;  // as the Node was told, or is to be
  bool state_waits_ = false;
  std::vector<Link> links_;
  IndexPool links_free_;
  std::vector<uint32_t> active_;  // links whose completions are looked at
  std::vector<uint32_t> dirty_;   // links with gathered requests
  BoundedQueue<Waiting> waiting_;
  BoundedQueue<std::string> notes_;
  uint32_t landed_waiting_ = 0;
  uint32_t serial_next_ = 1;
  DeviceWatch watch_;
};

}  // namespace sluice::rdma
