#include "stream/stream_mover.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <variant>

#include "mover/clock.h"
#include "stream/stream.h"

namespace sluice::stream {
namespace {

using replica::LinkEnd;
using replica::LinkId;
using replica::Transport;

// Connections of peers that have not said what they are; beyond these, the oldest goes.
constexpr uint32_t strangers_max = 64;
constexpr uint32_t notes_max = 64;
constexpr uint32_t trash_bytes = 256 << 10;
constexpr Duration tick_every = 50_ms;
// What epoll says of the listener and the timer; connections have their index and serial.
constexpr uint64_t listener_mark = UINT64_MAX;
constexpr uint64_t timer_mark = UINT64_MAX - 1;

}  // namespace

Result<std::unique_ptr<mover::Mover>> open(const mover::Options& options) {
  auto made = std::make_unique<StreamMover>(options);
  if (const Result<void> ready = made->set_up(); !ready) {
    return fail(ready.error().in("replication over TCP"));
  }
  return made;
}

StreamMover::StreamMover(const mover::Options& options)
    : options_(options),
      connections_(options.links_max * (1 + std::min(options.lanes, lanes_max)) + strangers_max),
      connections_free_(static_cast<uint32_t>(connections_.size())),
      links_(options.links_max),
      links_free_(options.links_max),
      waiting_(mover::waiting_max(options.links_max, landed_waiting_max)),
      notes_(notes_max),
      trash_(trash_bytes) {
  options_.lanes = std::clamp(options_.lanes, 1u, lanes_max);
  active_.reserve(connections_.size());
  serving_.reserve(connections_.size());
}

Result<void> StreamMover::set_up() {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!epoll_.is_open() || !timer_.is_open()) return fail(std::strerror(errno));
  if (getrandom(&key_secret_, sizeof key_secret_, 0) != sizeof key_secret_) {
    return fail("the kernel has no random numbers");
  }
  epoll_event watch{.events = EPOLLIN, .data = {.u64 = timer_mark}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.get(), &watch) < 0) {
    return fail(std::strerror(errno));
  }
  if (!options_.local.empty()) {
    if (const auto local = mover::local_address(options_.local); !local) return fail(local.error());
  }
  if (!options_.listen.empty()) {
    if (Result<void> listens = start_listening(); !listens) return listens;
  }
  description_ =
      fmt::format("TCP, {} data connections a link{}{}", options_.lanes,
                  options_.use_zero_copy ? ", MSG_ZEROCOPY where the kernel does not copy" : "",
                  listening_.empty() ? "" : ", listens on " + listening_);
  return {};
}

// ---------------------------------------------------------------------------------------- posts

void StreamMover::submit(const replica::Post& post) {
  std::visit([this](const auto& each) { handle(each); }, post);
}

Link* StreamMover::find_up(const LinkId& id) {
  if (id.transport != Transport::tcp || id.slot >= links_.size()) return nullptr;
  Link& link = links_[id.slot];
  return link.state == Link::State::up && link.serial == id.serial ? &link : nullptr;
}

void StreamMover::handle(const replica::Dial& post) {
  ++counts_.dials;
  const uint32_t slot = links_free_.take();
  if (slot == IndexPool::none) {
    ++counts_.dials_failed;
    tell({.kind = Waiting::Kind::dial_failed, .number = post.dial, .why = "every link is taken"});
    return;
  }
  Link& link = links_[slot];
  link.state = Link::State::looking_up;
  link.serial = serial_next_++;
  link.dialled = true;
  link.dial = post.dial;
  link.deadline = mover::now() + options_.dial_patience;
  link.lookup = std::make_unique<mover::Lookup>(post.address);
  ++joining_;
  set_timer(true);
  look_up(slot);
}

void StreamMover::handle(const replica::SendFrame& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  Connection& connection = connections_[link->control];
  connection.frames->push(post.frame);
  // Small, and the peer may be waiting for it: now rather than at the next turn.
  if (connection.writable && !send_some(link->control)) return;
  activate(connection);
}

void StreamMover::handle(const replica::Grant& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  ASSERT(post.grant < replica::grants_max);
  uint32_t lane = 0;
  for (uint32_t i = 1; i < link->lanes; ++i) {
    if (link->grants_on[i] < link->grants_on[lane]) lane = i;
  }
  const MutableBytes memory = options_.arena.bytes(post.extent);
  const auto address = static_cast<uint64_t>(memory.data() - options_.arena.chunks);
  const replica::Window window = link->grants.open(post.grant, memory, address, lane, new_key());
  ++link->grants_on[lane];
  ++counts_.grants;
  tell({.kind = Waiting::Kind::granted,
        .slot = post.link.slot,
        .serial = post.link.serial,
        .number = post.grant,
        .window = window});
}

// What one peer is told says nothing about the keys of another.
uint32_t StreamMover::new_key() {
  const uint64_t number = keys_made_++;
  return static_cast<uint32_t>(siphash24(key_secret_, std::as_bytes(std::span(&number, 1))));
}

void StreamMover::handle(const replica::Revoke& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  ASSERT(post.grant < replica::grants_max && link->grants.is_open(post.grant));
  // Bytes reach memory only inside of a recv() of this thread: from here on none do.
  const uint32_t lane = link->grants.lane(post.grant);
  connections_[link->data[lane]].reader.revoke(post.grant);
  link->grants.close(post.grant);
  --link->grants_on[lane];
  --counts_.grants;
  tell({.kind = Waiting::Kind::revoked,
        .slot = post.link.slot,
        .serial = post.link.serial,
        .number = post.grant});
}

void StreamMover::handle(const replica::Write& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  // The window is what the peer said it is.
  if (post.window.lane >= link->lanes || post.source.length_bytes == 0 ||
      post.source.length_bytes > post.window.length_bytes) {
    end_link(post.link.slot, LinkEnd::protection_error, "the peer's window cannot be");
    return;
  }
  Connection& connection = connections_[link->data[post.window.lane]];
  const Header header{.kind = Kind::write,
                      .length_bytes = post.source.length_bytes,
                      .address = post.window.address,
                      .key = post.window.key,
                      .immediate = post.immediate};
  connection.writes->push(post.write, header, options_.arena.bytes(post.source));
  activate(connection);
}

void StreamMover::handle(const replica::Close& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  // A last frame may say why.
  const uint32_t control = link->control;
  if (connections_[control].has_output() && !send_some(control)) return;
  end_link(post.link.slot, LinkEnd::closed_here, "");
}

// --------------------------------------------------------------------------------------- events

void StreamMover::tell(const Waiting& event) {
  const bool told = waiting_.push(event);
  ASSERT(told);
}

bool StreamMover::poll(replica::LinkEvent& out) {
  if (take(out)) return true;
  turn();
  return take(out);
}

void StreamMover::take_frame(const Waiting& event, replica::LinkEvent& out) {
  Connection& control = connections_[links_[event.slot].control];
  replica::FrameArrived& arrived = out.emplace<replica::FrameArrived>();
  arrived.link = {Transport::tcp, event.slot, event.serial};
  const auto frame = control.reader.frame();
  std::copy(frame.begin(), frame.end(), arrived.frame.begin());
  control.frame_waits = false;
  if (links_[event.slot].state == Link::State::up) {
    activate(control);
  } else {
    connections_free_.give_back(links_[event.slot].control);
  }
}

bool StreamMover::take(replica::LinkEvent& out) {
  Waiting event;
  if (!waiting_.pop(event)) return false;
  const LinkId id{Transport::tcp, event.slot, event.serial};
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
      out = replica::DialFailed{event.number, Transport::tcp, event.why};
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

bool StreamMover::prepare_to_sleep() {
  if (!waiting_.empty() || !active_.empty()) return false;
  collect();
  return active_.empty() && !accepts_;
}

bool StreamMover::poll_note(std::string& out) {
  return notes_.pop(out);
}

void StreamMover::note(const std::string& line) {
  static_cast<void>(notes_.push(line));
}

std::string StreamMover::peer_of(const Link& link) const {
  return connections_[link.control].peer.text();
}

// ----------------------------------------------------------------------------------------- turn

void StreamMover::activate(Connection& connection) {
  if (connection.active || connection.state == Connection::State::free) return;
  connection.active = true;
  active_.push_back(static_cast<uint32_t>(&connection - connections_.data()));
}

void StreamMover::turn() {
  collect();
  if (accepts_) accept_some();
  if (joining_ > 0 || listener_paused_) {
    const Instant time = mover::now();
    if (time >= next_tick_) tick(time);
  }
  // Those that go on being able to do something put themselves into the list again.
  std::swap(serving_, active_);
  for (const uint32_t index : serving_) {
    connections_[index].active = false;
    if (connections_[index].state != Connection::State::free) serve(index);
  }
  serving_.clear();
}

void StreamMover::collect() {
  std::array<epoll_event, 64> events;
  const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& each = events[static_cast<size_t>(i)];
    if (each.data.u64 == listener_mark) {
      accepts_ = true;
      continue;
    }
    if (each.data.u64 == timer_mark) {
      uint64_t expirations = 0;
      static_cast<void>(!read(timer_.get(), &expirations, sizeof expirations));
      continue;
    }
    Connection& connection = connections_[each.data.u64 & UINT32_MAX];
    if (connection.state == Connection::State::free || connection.serial != each.data.u64 >> 32) {
      continue;
    }
    if ((each.events & EPOLLIN) != 0) connection.readable = true;
    if ((each.events & EPOLLOUT) != 0) connection.writable = true;
    if ((each.events & EPOLLERR) != 0) connection.has_errors = true;
    if ((each.events & EPOLLERR) != 0) connection.readable = true;
    if ((each.events & (EPOLLRDHUP | EPOLLHUP)) != 0) {
      connection.ending = connection.readable = true;
    }
    activate(connection);
  }
}

void StreamMover::set_timer(bool on) {
  if (on == timer_on_) return;
  timer_on_ = on;
  const timespec every{.tv_sec = 0, .tv_nsec = on ? tick_every.ns() : 0};
  const itimerspec setting{.it_interval = every, .it_value = every};
  timerfd_settime(timer_.get(), 0, &setting, nullptr);
}

// Deadlines, and look-ups, which have no descriptor to wait on.
void StreamMover::tick(Instant time) {
  next_tick_ = time + tick_every;
  if (listener_paused_) resume_listening();
  for (uint32_t slot = 0; slot < links_.size(); ++slot) {
    Link& link = links_[slot];
    if (link.state == Link::State::looking_up) look_up(slot);
    const bool waits = link.state == Link::State::looking_up ||
                       link.state == Link::State::dialling || link.state == Link::State::joining;
    if (waits && time >= link.deadline) {
      fail_link(slot, link.state == Link::State::looking_up ? "the name server does not answer"
                      : link.state == Link::State::dialling
                          ? "no answer: wrong address, or a firewall on the way"
                          : "it answers, but its data connections do not come up");
    }
  }
  for (uint32_t index = 0; index < connections_.size(); ++index) {
    Connection& each = connections_[index];
    if (each.state == Connection::State::greeting && each.link == no_link &&
        time >= each.deadline) {
      ++counts_.refused;
      close_connection(index);
    }
  }
  set_timer(joining_ > 0 || listener_paused_);
}

// ----------------------------------------------------------------------------- the end of links

// A link that is up, or may be: its peer cannot write any more once its sockets are closed.
void StreamMover::end_link(uint32_t slot, LinkEnd end, const char* why) {
  Link& link = links_[slot];
  if (link.state != Link::State::up) {
    fail_link(slot, why);
    return;
  }
  if (*why != '\0') {
    note(fmt::format("replication, TCP link with {}: {}", peer_of(link), why));
  }
  close_connection(link.control);
  for (uint32_t lane = 0; lane < link.lanes; ++lane) close_connection(link.data[lane]);
  link.state = Link::State::ended;
  counts_.grants -= link.grants.count();
  --counts_.links_up;
  ++counts_.ends[static_cast<size_t>(end)];
  tell({.kind = Waiting::Kind::down, .end = end, .slot = slot, .serial = link.serial});
}

// A link that never came up.
void StreamMover::fail_link(uint32_t slot, const char* why) {
  Link& link = links_[slot];
  ASSERT(link.state != Link::State::free && link.state != Link::State::up &&
         link.state != Link::State::ended);
  for (uint32_t i = 0; i < connections_.size(); ++i) {
    if (connections_[i].state != Connection::State::free && connections_[i].link == slot) {
      close_connection(i);
    }
  }
  --joining_;
  if (link.dialled) {
    ++counts_.dials_failed;
    tell({.kind = Waiting::Kind::dial_failed, .number = link.dial, .why = why});
  } else {
    ++counts_.refused;
  }
  free_link(slot);
}

void StreamMover::free_link(uint32_t slot) {
  links_[slot] = Link{};
  links_free_.give_back(slot);
}

}  // namespace sluice::stream
