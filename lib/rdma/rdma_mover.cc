#include "rdma/rdma_mover.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <variant>

#include "mover/clock.h"
#include "rdma/rdma.h"

namespace sluice::rdma {
namespace {

using replica::LinkEnd;
using replica::LinkId;
using replica::Transport;

constexpr uint32_t notes_max = 64;
constexpr Duration tick_every = 50_ms;
// After Close: for frames that are on their way.
constexpr Duration close_patience = 200_ms;

}  // namespace

Result<std::unique_ptr<mover::Mover>> open(const mover::Options& options) {
  auto made = std::make_unique<RdmaMover>(options);
  if (const Result<void> ready = made->set_up(); !ready) return fail(ready.error());
  return made;
}

RdmaMover::RdmaMover(const mover::Options& options)
    : options_(options),
      links_(options.links_max),
      links_free_(options.links_max),
      waiting_(mover::waiting_max(options.links_max,
                                  options.links_max * (frame_slots + lanes_max * landings))),
      notes_(notes_max),
      watch_(options) {
  options_.lanes = std::clamp(options_.lanes, 1u, lanes_max);
}

RdmaMover::~RdmaMover() {
  if (verbs_ == nullptr) return;
  for (Link& link : links_) destroy(link);
  if (listener_ != nullptr) verbs_->destroy_id(listener_);
  devices_.clear();
  if (channel_ != nullptr) verbs_->destroy_event_channel(channel_);
}

Result<void> RdmaMover::watch(int descriptor) {
  epoll_event what{.events = EPOLLIN, .data = {.fd = descriptor}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &what) < 0) {
    return fail(std::strerror(errno));
  }
  return {};
}

Result<void> RdmaMover::set_up() {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!epoll_.is_open() || !timer_.is_open() || !watch_.is_open()) {
    return fail(std::strerror(errno));
  }
  if (auto watched = watch(timer_.get()); !watched) return watched;
  if (auto watched = watch(watch_.ready_fd()); !watched) return watched;
  if (!options_.local.empty()) {
    if (const auto local = mover::local_address(options_.local); !local) return fail(local.error());
  }
  watch_.look();
  handle_device_changes();
  update_state();
  const std::string why = devices_.empty() ? watch_.why_none() : why_not_listening_;
  if (!is_usable_ && !options_.may_be_absent) return fail(why);
  for (const auto& [context, device] : devices_) {
    description_ += (description_.empty() ? "RDMA, " : "; ") + device->description();
  }
  description_ = is_usable_
                     ? fmt::format("{}, {} data queue pairs a link{}", description_, options_.lanes,
                                   listening_.empty() ? "" : ", listens on " + listening_)
                     : fmt::format("RDMA once it can be used; now: {}", why);
  for (std::string line; notes_.pop(line);) {
  }  // the description says it
  watch_.start();
  return {};
}

// ---------------------------------------------------------------------------------------- posts

void RdmaMover::submit(const replica::Post& post) {
  std::visit([this](const auto& each) { handle(each); }, post);
}

Link* RdmaMover::find_up(const LinkId& id) {
  if (id.transport != Transport::rdma || id.slot >= links_.size()) return nullptr;
  Link& link = links_[id.slot];
  return link.state == Link::State::up && link.serial == id.serial ? &link : nullptr;
}

void RdmaMover::handle(const replica::Dial& post) {
  ++counts_.dials;
  const uint32_t slot = links_free_.take();
  if (slot == IndexPool::none || devices_.empty()) {
    if (slot != IndexPool::none) links_free_.give_back(slot);
    ++counts_.dials_failed;
    tell({.kind = Waiting::Kind::dial_failed,
          .number = post.dial,
          .why = devices_.empty() ? "there is no RDMA device here" : "every link is taken"});
    return;
  }
  Link& link = links_[slot];
  link.state = Link::State::looking_up;
  link.serial = serial_next_++;
  link.dialled = true;
  link.dial = post.dial;
  link.deadline = mover::now() + options_.dial_patience;
  link.lookup = std::make_unique<mover::Lookup>(post.address);
  ++timed_;
  set_timer(true);
  look_up(slot);
}

// Into the lane's list: one doorbell for all of a turn.
ibv_send_wr& RdmaMover::gather(Link& link, QueuePair& pair, const ibv_send_wr& request) {
  ASSERT(pair.gathered < lane_requests);
  const uint32_t at = pair.gathered++;
  ibv_send_wr& out = pair.requests[at];
  out = request;
  out.send_flags |= IBV_SEND_SIGNALED;
  out.next = nullptr;
  out.sg_list = &pair.parts[at];
  if (at > 0) pair.requests[at - 1].next = &out;
  if (!link.dirty) {
    link.dirty = true;
    dirty_.push_back(static_cast<uint32_t>(&link - links_.data()));
  }
  return out;
}

// By the addresses that the device is given, after whatever was done before.
void RdmaMover::count_taken(const Link& link, std::span<const ibv_send_wr> requests) {
  for (const ibv_send_wr& each : requests) {
    if (each.opcode != IBV_WR_RDMA_WRITE_WITH_IMM) continue;
    const content::Extent& source = link.sources[static_cast<uint32_t>(each.wr_id)];
    const auto own = reinterpret_cast<uint64_t>(options_.arena.bytes(source).data());
    const bool is_own = each.num_sge == 1 && each.sg_list->addr == own;
    (is_own ? counts_.bytes_taken : counts_.bytes_copied) += source.length_bytes;
  }
}

void RdmaMover::flush(uint32_t slot) {
  Link& link = links_[slot];
  link.dirty = false;
  const auto post = [&](QueuePair* pair) {
    if (pair == nullptr || pair->gathered == 0) return true;
    const uint32_t count = std::exchange(pair->gathered, 0);
    if (pair->pair == nullptr) return true;
    ibv_send_wr* bad = nullptr;
    pair->sends += count;
    count_taken(link, std::span(pair->requests).first(count));
    const int error = ibv_post_send(pair->pair, pair->requests.data(), &bad);
    if (error == 0) return true;
    // Those before the bad one were posted.
    const auto posted = static_cast<uint32_t>(bad != nullptr ? bad - pair->requests.data() : 0);
    pair->sends -= count - posted;
    return false;
  };
  bool good = post(link.control.get());
  for (uint32_t lane = 0; lane < link.lanes; ++lane) good = post(link.data[lane].get()) && good;
  if (!good && (link.state == Link::State::up || link.state == Link::State::closing)) {
    end_link(slot, LinkEnd::device_error, "the device takes no more requests");
  }
}

void RdmaMover::handle(const replica::SendFrame& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  const uint32_t slot = link->frames_free.take();
  ASSERT(slot != IndexPool::none);
  std::byte* const from = &link->frames[size_t{slot} * replica::frame_bytes];
  std::copy(post.frame.begin(), post.frame.end(), from);
  ibv_send_wr request{};
  request.wr_id = request_id(Request::frame_out, control_lane, slot);
  request.opcode = IBV_WR_SEND;
  request.num_sge = 1;
  *gather(*link, *link->control, request).sg_list = {.addr = reinterpret_cast<uint64_t>(from),
                                                     .length = replica::frame_bytes,
                                                     .lkey = link->frames_region->lkey};
}

void RdmaMover::handle(const replica::Write& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  ASSERT(post.write < replica::writes_in_flight_max);
  // The window is what the peer said it is.
  if (post.window.lane >= link->lanes || post.source.length_bytes == 0 ||
      post.source.length_bytes > post.window.length_bytes ||
      post.source.length_bytes > link->write_bytes_max) {
    end_link(post.link.slot, LinkEnd::protection_error, "the peer's window cannot be");
    return;
  }
  const MutableBytes source = options_.arena.bytes(post.source);
  const auto lane = static_cast<uint8_t>(post.window.lane);
  ibv_send_wr request{};
  request.wr_id = request_id(Request::write, lane, post.write);
  request.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  request.num_sge = 1;
  request.imm_data = htonl(post.immediate);
  request.wr.rdma.remote_addr = post.window.address;
  request.wr.rdma.rkey = post.window.key;
  link->sources[post.write] = post.source;
  *gather(*link, *link->data[lane], request).sg_list = {
      .addr = reinterpret_cast<uint64_t>(source.data()),
      .length = post.source.length_bytes,
      .lkey = link->device->region_of(source.data())->lkey};
}

void RdmaMover::handle(const replica::Close& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  flush(post.link.slot);
  if (link->state != Link::State::up) return;
  link->has_reason = true;
  link->reason = LinkEnd::closed_here;
  link->state = Link::State::closing;
  link->deadline = mover::now() + close_patience;
  ++timed_;
  set_timer(true);
  if (link->control->sends == 0) start_draining(post.link.slot);
}

// --------------------------------------------------------------------------------------- events

void RdmaMover::tell(const Waiting& event) {
  const bool told = waiting_.push(event);
  ASSERT(told);
}

bool RdmaMover::poll(replica::LinkEvent& out) {
  if (take(out)) return true;
  turn();
  return take(out) || take_state(out);
}

// The frame's place is posted again as soon as it is taken, not before: so a peer that sends more
// than it may finds no receive.
void RdmaMover::take_frame(const Waiting& event, replica::LinkEvent& out) {
  Link& link = links_[event.slot];
  replica::FrameArrived& arrived = out.emplace<replica::FrameArrived>();
  arrived.link = {Transport::rdma, event.slot, event.serial};
  const std::byte* const from =
      &link.frames[size_t{frame_slots + event.number} * replica::frame_bytes];
  std::copy(from, from + replica::frame_bytes, arrived.frame.begin());
  if (link.state == Link::State::up && !post_frame_in(link, event.number)) {
    end_link(event.slot, LinkEnd::device_error, "the device takes no more receives");
  }
}

bool RdmaMover::take(replica::LinkEvent& out) {
  Waiting event;
  if (!waiting_.pop(event)) return false;
  const LinkId id{Transport::rdma, event.slot, event.serial};
  switch (event.kind) {
    case Waiting::Kind::up: {
      const Link& link = links_[event.slot];
      out = replica::LinkUp{.link = id,
                            .dialled = link.dialled,
                            .dial = link.dial,
                            .lanes = link.lanes,
                            .write_bytes_max = link.write_bytes_max};
      break;
    }
    case Waiting::Kind::dial_failed:
      out = replica::DialFailed{event.number, Transport::rdma, event.why};
      break;
    case Waiting::Kind::frame:
      take_frame(event, out);
      break;
    case Waiting::Kind::granted:
      out = replica::Granted{id, event.number, event.window};
      break;
    case Waiting::Kind::revoked:
      out = replica::Revoked{id, event.number};
      break;
    case Waiting::Kind::done:
      out = replica::WriteDone{id, event.number};
      break;
    case Waiting::Kind::landed:
      --landed_waiting_;
      out = replica::Landed{id, event.number, event.length};
      break;
    case Waiting::Kind::down:
      out = replica::LinkDown{id, event.end};
      free_link(event.slot);
      break;
  }
  return true;
}

void RdmaMover::note(const std::string& line) {
  static_cast<void>(notes_.push(line));
}

// ----------------------------------------------------------------------------------------- turn

bool RdmaMover::prepare_to_sleep() {
  if (!waiting_.empty()) return false;
  turn();
  return waiting_.empty() && !state_waits_ && active_.empty() && dirty_.empty();
}

void RdmaMover::turn() {
  for (size_t i = 0; i < dirty_.size(); ++i) flush(dirty_[i]);
  dirty_.clear();
  collect();
  // reap() takes a link out of the list when it has nothing more.
  for (size_t i = active_.size(); i-- > 0;) reap(active_[i]);
  remove_gone();
  const bool listens = options_.listen.empty() || listener_ != nullptr || devices_.empty();
  if (timed_ == 0 && listens) return;
  const Instant time = mover::now();
  if (time >= next_tick_) tick(time);
}

void RdmaMover::collect() {
  std::array<epoll_event, 16> events;
  const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const int ready = events[static_cast<size_t>(i)].data.fd;
    if (ready == timer_.get()) {
      uint64_t expirations = 0;
      static_cast<void>(!read(timer_.get(), &expirations, sizeof expirations));
      continue;
    }
    if (ready == watch_.ready_fd()) {
      handle_device_changes();
      continue;
    }
    if (channel_ != nullptr && ready == channel_->fd) {
      handle_cm_events();
      continue;
    }
    for (auto& [context, device] : devices_) {
      if (ready == device->completions()->fd) handle_completion_events(*device);
      if (ready == context->async_fd) handle_device_events(*device);
    }
  }
}

void RdmaMover::set_timer(bool on) {
  if (on == timer_on_) return;
  timer_on_ = on;
  const timespec every{.tv_sec = 0, .tv_nsec = on ? tick_every.ns() : 0};
  const itimerspec setting{.it_interval = every, .it_value = every};
  timerfd_settime(timer_.get(), 0, &setting, nullptr);
}

void RdmaMover::tick(Instant time) {
  next_tick_ = time + tick_every;
  keep_listening();
  for (uint32_t slot = 0; slot < links_.size(); ++slot) {
    Link& link = links_[slot];
    const bool late = time >= link.deadline;
    switch (link.state) {
      case Link::State::looking_up:
        look_up(slot);
        if (link.state == Link::State::looking_up && late) {
          fail_link(slot, "the name server does not answer");
        }
        break;
      case Link::State::dialling:
        if (late) {
          fail_link(slot, "no answer over RDMA: is sluiced running there, and UDP port 4791 open?");
        }
        break;
      case Link::State::joining:
        if (late) fail_link(slot, "it answers, but its data queue pairs do not come up");
        break;
      case Link::State::closing:
        if (late) start_draining(slot);
        break;
      case Link::State::draining:
        // A device that never gives requests back: destroying the queue pairs takes them.
        if (late) finish_end(slot);
        break;
      case Link::State::free:
      case Link::State::up:
      case Link::State::ended:
        break;
    }
  }
  const bool listens = options_.listen.empty() || listener_ != nullptr || devices_.empty();
  set_timer(timed_ > 0 || !listens);
}

}  // namespace sluice::rdma
