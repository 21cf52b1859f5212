// StreamMover: from an address, or from a stranger, to a link that is up.
//
//   dialler                                       acceptor
//     connect, Greeting{control, lanes wanted} ->
//                                              <- Greeting{control, lanes, token}    a link is
//                                              taken
//     connect each lane, Greeting{data, token} ->
//                                              <- Greeting{data, token}              all there: up
//     all answered: up

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "mover/clock.h"
#include "stream/stream_mover.h"

namespace sluice::stream {
namespace {

using replica::LinkEnd;

constexpr uint32_t strangers_max = 64;
constexpr uint32_t accepts_a_turn = 32;
constexpr uint64_t listener_mark = UINT64_MAX;
constexpr int backlog = 256;
// Data that a peer's kernel does not acknowledge for so long: the peer, or the way to it, is gone.
constexpr int unacknowledged_ms_max = 10'000;

void set_option(int socket, int level, int name, int value) {
  setsockopt(socket, level, name, &value, sizeof value);
}

void prepare(int socket) {
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, unacknowledged_ms_max);
}

const char* why_not_connected(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "nothing listens there: is sluiced running with --replica-listen?";
    case ETIMEDOUT:
      return "no answer: wrong address, or a firewall on the way";
    case EHOSTUNREACH:
    case ENETUNREACH:
      return "no way to that address: see ip route get";
    case EADDRNOTAVAIL:
      return "the local address is not one of this machine";
    case ECONNRESET:
      return "it closed the connection at once";
    case EMFILE:
    case ENFILE:
      return "no file descriptor is left: raise LimitNOFILE";
    default:
      return "the kernel refused to connect";
  }
}

}  // namespace

// ------------------------------------------------------------------------------------ listening

Result<void> StreamMover::start_listening() {
  const Result<mover::SocketAddress> address = mover::passive_address(options_.listen);
  if (!address) return fail(address.error());
  const auto failed = [&](const char* what) {
    const char* cure = errno == EADDRINUSE      ? " (another sluiced?)"
                       : errno == EADDRNOTAVAIL ? " (not an address of this machine)"
                                                : "";
    return fail(fmt::format("{}: {}: {}{}", options_.listen, what, std::strerror(errno), cure));
  };
  listener_.reset(
      socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener_.is_open()) return failed("cannot make a socket");
  set_option(listener_.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address->storage.ss_family == AF_INET6) {
    set_option(listener_.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  }
  if (bind(listener_.get(), address->get(), address->length) < 0) return failed("cannot listen");
  if (::listen(listener_.get(), backlog) < 0) return failed("cannot listen");
  epoll_event watch{.events = EPOLLIN | EPOLLET, .data = {.u64 = listener_mark}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &watch) < 0) return failed("epoll");
  mover::SocketAddress bound;
  bound.length = sizeof bound.storage;
  if (getsockname(listener_.get(), bound.get(), &bound.length) == 0) listening_ = bound.text();
  return {};
}

void StreamMover::accept_some() {
  for (uint32_t i = 0; i < accepts_a_turn; ++i) {
    mover::SocketAddress peer;
    peer.length = sizeof peer.storage;
    Descriptor socket(
        accept4(listener_.get(), peer.get(), &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.is_open()) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      accepts_ = false;
      if (errno == EAGAIN) return;
      // Out of descriptors or memory: the tick tries again.
      note(fmt::format("replication, TCP: cannot accept: {}; raise LimitNOFILE",
                       std::strerror(errno)));
      listener_paused_ = true;
      set_timer(true);
      return;
    }
    prepare(socket.get());
    make_room_for_accepted();
    const uint32_t index = take_connection(std::move(socket), peer);
    if (index == IndexPool::none) {
      ++counts_.refused;
      continue;
    }
    Connection& connection = connections_[index];
    connection.state = Connection::State::greeting;
    connection.deadline = mover::now() + options_.dial_patience;
    ++joining_;
    set_timer(true);
  }
}

void StreamMover::resume_listening() {
  listener_paused_ = false;
  accepts_ = true;
}

// Strangers cannot keep others out by saying nothing: the one that waits longest goes.
void StreamMover::make_room_for_accepted() {
  uint32_t strangers = 0;
  uint32_t oldest = IndexPool::none;
  for (uint32_t i = 0; i < connections_.size(); ++i) {
    const Connection& each = connections_[i];
    if (each.state != Connection::State::greeting || each.link != no_link) continue;
    ++strangers;
    if (oldest == IndexPool::none || each.deadline < connections_[oldest].deadline) oldest = i;
  }
  if (strangers < strangers_max) return;
  ++counts_.refused;
  close_connection(oldest);
}

// ---------------------------------------------------------------------------------- connections

uint32_t StreamMover::take_connection(Descriptor socket, const mover::SocketAddress& peer) {
  const uint32_t index = connections_free_.take();
  if (index == IndexPool::none) return index;
  Connection& connection = connections_[index];
  const bool was_active = connection.active;  // still in the list from its former life
  connection = Connection{};
  connection.active = was_active;
  connection.socket = std::move(socket);
  connection.peer = peer;
  connection.serial = serial_next_++;
  connection.state = Connection::State::greeting;
  const uint64_t mark = uint64_t{connection.serial} << 32 | index;
  epoll_event watch{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.u64 = mark}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.socket.get(), &watch) < 0) {
    connection = Connection{};
    connection.active = was_active;
    connections_free_.give_back(index);
    return IndexPool::none;
  }
  return index;
}

void StreamMover::close_connection(uint32_t index) {
  Connection& connection = connections_[index];
  if (connection.state == Connection::State::greeting && connection.link == no_link) --joining_;
  if (connection.writes && connection.writes->has_notices_outstanding()) {
    // The kernel's queue still points into the arena: let it be dropped rather than sent later.
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(connection.socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  connection.socket.reset();
  connection.state = Connection::State::free;
  connection.frames.reset();
  connection.writes.reset();
  if (!connection.frame_waits) connections_free_.give_back(index);  // else when it is taken
}

void StreamMover::greet(Connection& connection, const Greeting& greeting) {
  emit(greeting, connection.greeting);
  connection.greeting_sent = 0;
  activate(connection);
}

// Something ended a connection, or it said what it may not.
void StreamMover::handle_connection_lost(uint32_t index, LinkEnd end, const char* why) {
  const uint32_t slot = connections_[index].link;
  if (slot == no_link) {
    ++counts_.refused;
    close_connection(index);
    return;
  }
  if (links_[slot].state == Link::State::dialling) {
    dial_next_address(slot, why);
    return;
  }
  // A last frame may say why, and have arrived by now.
  const uint32_t control = links_[slot].control;
  if (links_[slot].state == Link::State::up && end == LinkEnd::closed_by_peer && index != control &&
      may_read(connections_[control]) && !read_some(control)) {
    return;
  }
  end_link(slot, end, why);
}

// --------------------------------------------------------------------------------------- dialling

void StreamMover::look_up(uint32_t slot) {
  Link& link = links_[slot];
  switch (link.lookup->poll()) {
    case mover::Lookup::State::pending:
      return;
    case mover::Lookup::State::failed:
      fail_link(slot, link.lookup->why());
      return;
    case mover::Lookup::State::found:
      link.state = Link::State::dialling;
      dial_next_address(slot, "the name has no address");
      return;
  }
}

/// `why`: what became of the address before.
void StreamMover::dial_next_address(uint32_t slot, const char* why) {
  Link& link = links_[slot];
  for (uint32_t i = 0; i < connections_.size(); ++i) {
    if (connections_[i].state != Connection::State::free && connections_[i].link == slot) {
      close_connection(i);
    }
  }
  const auto& addresses = link.lookup->addresses();
  while (link.address_next < addresses.size()) {
    const mover::SocketAddress& to = addresses[link.address_next++];
    if (start_connecting(slot, Role::control, 0, to, why)) return;
  }
  fail_link(slot, why);
}

bool StreamMover::start_connecting(uint32_t slot, Role role, uint32_t lane,
                                   const mover::SocketAddress& to, const char*& why) {
  Descriptor made(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!made.is_open()) {
    why = why_not_connected(errno);
    return false;
  }
  prepare(made.get());
  if (!options_.local.empty()) {
    const Result<mover::SocketAddress> local = mover::local_address(options_.local);
    set_option(made.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (!local || bind(made.get(), local->get(), local->length) < 0) {
      why = "the local address cannot be used for it";
      return false;
    }
  }
  if (connect(made.get(), to.get(), to.length) < 0 && errno != EINPROGRESS) {
    why = why_not_connected(errno);
    return false;
  }
  const uint32_t index = take_connection(std::move(made), to);
  if (index == IndexPool::none) {
    why = "every connection is taken";
    return false;
  }
  Connection& connection = connections_[index];
  connection.state = Connection::State::connecting;
  connection.dialled = true;
  connection.role = role;
  connection.lane = lane;
  connection.link = slot;
  return true;
}

void StreamMover::handle_connected(uint32_t index) {
  Connection& connection = connections_[index];
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(connection.socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    handle_connection_lost(index, LinkEnd::unreachable, why_not_connected(error));
    return;
  }
  const Link& link = links_[connection.link];
  connection.state = Connection::State::greeting;
  const bool is_control = connection.role == Role::control;
  greet(connection, {.role = connection.role,
                     .lane = static_cast<uint8_t>(connection.lane),
                     .lanes = static_cast<uint8_t>(is_control ? options_.lanes : link.lanes),
                     .token = link.token,
                     .write_bytes_max = options_.arena.chunk_bytes});
}

// --------------------------------------------------------------------------------------- greeting

void StreamMover::handle_greeting(uint32_t index) {
  Connection& connection = connections_[index];
  if (connection.dialled) {
    handle_dialled_answer(index);
  } else if (connection.reader.greeting().role == Role::control) {
    handle_control_greeting(index);
  } else {
    handle_data_greeting(index);
  }
}

void StreamMover::handle_dialled_answer(uint32_t index) {
  Connection& connection = connections_[index];
  const uint32_t slot = connection.link;
  Link& link = links_[slot];
  const Greeting& answer = connection.reader.greeting();
  if (answer.role != connection.role || answer.lane != connection.lane ||
      (connection.role == Role::control && answer.lanes > options_.lanes) ||
      (connection.role == Role::data && answer.token != link.token)) {
    handle_connection_lost(index, LinkEnd::malformed,
                           "what answers there is no sluice of this version");
    return;
  }
  if (connection.role == Role::data) {
    join(slot, index);
    return;
  }
  link.state = Link::State::joining;
  link.lanes = answer.lanes;
  link.token = answer.token;
  link.write_bytes_max = std::min(answer.write_bytes_max, options_.arena.chunk_bytes);
  link.control = index;
  connection.state = Connection::State::open;
  const mover::SocketAddress peer = connection.peer;
  for (uint32_t lane = 0; lane < link.lanes; ++lane) {
    const char* why = "";
    if (!start_connecting(slot, Role::data, lane, peer, why)) {
      fail_link(slot, why);
      return;
    }
  }
}

void StreamMover::handle_control_greeting(uint32_t index) {
  Connection& connection = connections_[index];
  const uint32_t slot = links_free_.take();
  if (slot == IndexPool::none) {
    ++counts_.refused;
    close_connection(index);
    return;
  }
  Link& link = links_[slot];
  const Greeting& asked = connection.reader.greeting();
  link.state = Link::State::joining;
  link.serial = serial_next_++;
  link.lanes = std::min<uint32_t>(asked.lanes, options_.lanes);
  link.write_bytes_max = std::min(asked.write_bytes_max, options_.arena.chunk_bytes);
  link.deadline = mover::now() + options_.dial_patience;
  link.control = index;
  if (getrandom(link.token.data(), link.token.size(), 0) !=
      static_cast<ssize_t>(link.token.size())) {
    links_free_.give_back(slot);
    link = Link{};
    close_connection(index);
    return;
  }
  connection.link = slot;  // joining_ counts the link now, instead of the connection
  connection.state = Connection::State::open;
  connection.role = Role::control;
  greet(connection, {.role = Role::control,
                     .lanes = static_cast<uint8_t>(link.lanes),
                     .token = link.token,
                     .write_bytes_max = options_.arena.chunk_bytes});
}

void StreamMover::handle_data_greeting(uint32_t index) {
  Connection& connection = connections_[index];
  const Greeting& asked = connection.reader.greeting();
  for (uint32_t slot = 0; slot < links_.size(); ++slot) {
    Link& link = links_[slot];
    if (link.state != Link::State::joining || link.dialled || link.token != asked.token) continue;
    if (asked.lanes != link.lanes || link.has_data[asked.lane]) break;
    --joining_;
    connection.link = slot;
    connection.lane = asked.lane;
    connection.role = Role::data;
    greet(connection, {.role = Role::data,
                       .lane = asked.lane,
                       .lanes = asked.lanes,
                       .token = asked.token,
                       .write_bytes_max = options_.arena.chunk_bytes});
    join(slot, index);
    return;
  }
  ++counts_.refused;
  close_connection(index);
}

// One more data connection is ready; the last one brings the link up.
void StreamMover::join(uint32_t slot, uint32_t index) {
  Link& link = links_[slot];
  Connection& connection = connections_[index];
  connection.state = Connection::State::open;
  link.data[connection.lane] = index;
  link.has_data[connection.lane] = true;
  if (++link.joined < link.lanes) return;
  --joining_;
  link.state = Link::State::up;
  link.lookup.reset();
  Connection& control = connections_[link.control];
  control.frames = std::make_unique<FrameOutput>();
  control.reader.begin(Role::control, 0);
  activate(control);
  for (uint32_t lane = 0; lane < link.lanes; ++lane) {
    Connection& data = connections_[link.data[lane]];
    data.writes = std::make_unique<WriteOutput>();
    data.reader.begin(Role::data, lane);
    if (options_.use_zero_copy) {
      const int on = 1;
      data.zero_copy = setsockopt(data.socket.get(), SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) == 0;
    }
    activate(data);
  }
  ++counts_.links_up;
  if (!link.dialled) ++counts_.accepted;
  tell({.kind = Waiting::Kind::up, .slot = slot, .serial = link.serial});
}

}  // namespace sluice::stream
