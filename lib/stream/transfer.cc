// StreamMover: bytes in and out of the connections, a bounded number each turn.

#include <fmt/format.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "stream/stream_mover.h"

namespace sluice::stream {
namespace {

using replica::LinkEnd;

// What one connection may send, and receive, before the next one has its turn.
constexpr size_t bytes_a_turn = 4u << 20;
// Below this, taking pages by reference costs more than copying them.
constexpr size_t zero_copy_bytes_min = 32u << 10;

LinkEnd end_of(int error) {
  switch (error) {
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return LinkEnd::unreachable;
    case ENETDOWN:
    case ENODEV:
      return LinkEnd::device_error;
    default:
      return LinkEnd::closed_by_peer;
  }
}

const char* why_of(int error) {
  switch (error) {
    case ETIMEDOUT:
      return "nothing is acknowledged any more: the peer stands still, or the way to it is cut";
    case EHOSTUNREACH:
    case ENETUNREACH:
      return "no way to the peer any more";
    case ENETDOWN:
    case ENODEV:
      return "the network interface is down";
    case ECONNRESET:
    case EPIPE:
      return "the peer reset the connection";
    default:
      return "the kernel gave the connection up";
  }
}

iovec part_of(Bytes bytes) {
  return {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
}

}  // namespace

void StreamMover::serve(uint32_t index) {
  Connection& connection = connections_[index];
  if (connection.state == Connection::State::connecting) {
    if (connection.writable || connection.ending) handle_connected(index);
    if (connection.state == Connection::State::free) return;
  }
  if (connection.has_errors) read_notices(connection);
  if (connection.writable && connection.has_output() && !send_some(index)) return;
  if (connection.readable && may_read(connection) && !read_some(index)) return;
  // (Where too many landings wait to be told, reading goes on once they are.)
  const bool more =
      (connection.writable && connection.has_output()) ||
      (connection.readable && (may_read(connection) || landed_waiting_ >= landed_waiting_max));
  if (more) activate(connection);
}

bool StreamMover::may_read(const Connection& connection) const {
  if (connection.state == Connection::State::greeting) return true;
  if (connection.state != Connection::State::open || connection.frame_waits) return false;
  if (landed_waiting_ >= landed_waiting_max) return false;
  return links_[connection.link].state == Link::State::up;
}

// ------------------------------------------------------------------------------------------ out

// Returns false when the connection is no more.
bool StreamMover::send_some(uint32_t index) {
  Connection& connection = connections_[index];
  size_t sent_bytes = 0;
  while (connection.has_output() && sent_bytes < bytes_a_turn) {
    Outgoing next;
    const bool greeting = connection.greeting_sent < greeting_bytes;
    if (greeting) {
      next.head = Bytes(connection.greeting).subspan(connection.greeting_sent);
    } else if (connection.frames) {
      next = connection.frames->next();
    } else {
      next = connection.writes->next();
    }
    const bool zero_copy = connection.zero_copy && !greeting &&
                           next.body.size() >= zero_copy_bytes_min &&
                           connection.writes->may_zero_copy();
    std::array<iovec, 2> parts{part_of(next.head), part_of(next.body)};
    const bool headless = next.head.empty();
    msghdr message{};
    message.msg_iov = &parts[headless ? 1 : 0];
    message.msg_iovlen = headless || next.body.empty() ? 1 : 2;
    const ssize_t sent = sendmsg(connection.socket.get(), &message,
                                 MSG_NOSIGNAL | MSG_DONTWAIT | (zero_copy ? MSG_ZEROCOPY : 0));
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOBUFS && zero_copy) {
        // The limit of pages by reference (net.core.optmem_max, or memlock).
        connection.zero_copy = false;
        continue;
      }
      connection.writable = false;
      if (errno == EAGAIN) return true;
      handle_connection_lost(index, end_of(errno), why_of(errno));
      return false;
    }
    const auto count = static_cast<size_t>(sent);
    sent_bytes += count;
    if (greeting) {
      connection.greeting_sent += static_cast<uint32_t>(count);
    } else if (connection.frames) {
      counts_.frames_sent += connection.frames->advance(count);
    } else {
      connection.writes->advance(count, zero_copy);
      if (zero_copy) counts_.bytes_zero_copy += count;
      count_sent(parts[1].iov_base, count - std::min(count, next.head.size()));
      tell_done(connection);
    }
    if (count < next.size()) {
      connection.writable = false;  // epoll tells when there is room again
      return true;
    }
  }
  return true;
}

void StreamMover::count_sent(const void* from, size_t bytes) {
  (mover::lies_in(options_.arena, from, bytes) ? counts_.bytes_taken : counts_.bytes_copied) +=
      bytes;
}

void StreamMover::tell_done(const Connection& connection) {
  uint32_t write = 0;
  uint32_t bytes = 0;
  while (connection.writes->poll_done(write, bytes)) {
    ++counts_.writes_done;
    counts_.write_bytes_done += bytes;
    tell({.kind = Waiting::Kind::done,
          .slot = connection.link,
          .serial = links_[connection.link].serial,
          .number = write});
  }
}

// The kernel's notices of MSG_ZEROCOPY: what it let go of, and whether it copied all the same.
void StreamMover::read_notices(Connection& connection) {
  connection.has_errors = false;
  if (!connection.writes) return;
  for (uint32_t i = 0; i < WriteOutput::notices_max; ++i) {
    alignas(cmsghdr) std::array<std::byte, 128> control;
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (recvmsg(connection.socket.get(), &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) break;
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
         each = CMSG_NXTHDR(&message, each)) {
      const bool is_notice = (each->cmsg_level == SOL_IP && each->cmsg_type == IP_RECVERR) ||
                             (each->cmsg_level == SOL_IPV6 && each->cmsg_type == IPV6_RECVERR);
      if (!is_notice) continue;
      sock_extended_err notice;
      std::memcpy(&notice, CMSG_DATA(each), sizeof notice);
      if (notice.ee_origin != SO_EE_ORIGIN_ZEROCOPY) continue;
      // A link within one machine, or a NIC that cannot gather: the copy happens anyway, later.
      if ((notice.ee_code & SO_EE_CODE_ZEROCOPY_COPIED) != 0) connection.zero_copy = false;
      connection.writes->handle_notice(notice.ee_info, notice.ee_data);
    }
  }
  tell_done(connection);
}

// ------------------------------------------------------------------------------------------- in

// Returns false when the connection is no more.
bool StreamMover::read_some(uint32_t index) {
  Connection& connection = connections_[index];
  size_t read_bytes = 0;
  while (connection.readable && may_read(connection) && read_bytes < bytes_a_turn) {
    const MutableBytes space = connection.reader.want(trash_);
    const ssize_t got = recv(connection.socket.get(), space.data(), space.size(), MSG_DONTWAIT);
    if (got == 0) {
      const bool clean =
          connection.state == Connection::State::open && connection.reader.is_between_records();
      const char* why = connection.state == Connection::State::greeting
                            ? "it closed the connection: no sluice, or it has no room for another"
                            : "";
      handle_connection_lost(index, LinkEnd::closed_by_peer,
                             clean || *why != '\0' ? why : "the peer ended in mid-record");
      return false;
    }
    if (got < 0) {
      if (errno == EINTR) continue;
      connection.readable = false;
      if (errno == EAGAIN) return true;
      handle_connection_lost(index, end_of(errno), why_of(errno));
      return false;
    }
    const auto count = static_cast<size_t>(got);
    read_bytes += count;
    // Whoever puts a buffer between the socket and the arena gives recv() its address.
    const bool is_placed = mover::lies_in(options_.arena, space.data(), count);
    connection.placed_bytes += is_placed ? count : 0;
    counts_.bytes_placed += is_placed ? count : 0;
    // Less than asked for: the socket is empty, and epoll tells of what comes (epoll(7)).
    if (count < space.size() && !connection.ending) connection.readable = false;
    const Grants& grants = connection.link == no_link ? no_grants_ : links_[connection.link].grants;
    const Reader::Outcome outcome = connection.reader.advance(static_cast<uint32_t>(count), grants);
    if (!handle_read(index, outcome)) return false;
  }
  return true;
}

// Returns false when the connection is no more.
bool StreamMover::handle_read(uint32_t index, Reader::Outcome outcome) {
  Connection& connection = connections_[index];
  const uint32_t slot = connection.link;
  switch (outcome) {
    case Reader::Outcome::more:
      break;
    case Reader::Outcome::greeting:
      handle_greeting(index);
      return connection.state != Connection::State::free;
    case Reader::Outcome::frame:
      ++counts_.frames_received;
      connection.frame_waits = true;
      tell({.kind = Waiting::Kind::frame, .slot = slot, .serial = links_[slot].serial});
      break;
    case Reader::Outcome::landed:
      ++counts_.writes_landed;
      counts_.write_bytes_landed += connection.reader.header().length_bytes;
      counts_.bytes_copied += connection.reader.header().length_bytes - connection.placed_bytes;
      connection.placed_bytes = 0;
      ++landed_waiting_;
      tell({.kind = Waiting::Kind::landed,
            .slot = slot,
            .serial = links_[slot].serial,
            .number = connection.reader.header().immediate,
            .length = connection.reader.header().length_bytes});
      break;
    case Reader::Outcome::drained:
      counts_.bytes_drained += connection.reader.take_drained_bytes();
      connection.placed_bytes = 0;
      break;
    case Reader::Outcome::malformed:
      handle_connection_lost(index, LinkEnd::malformed, "what it says is no record of ours");
      return false;
    case Reader::Outcome::forbidden:
      handle_connection_lost(index, LinkEnd::protection_error,
                             "it wrote to where nothing is granted to it");
      return false;
  }
  return true;
}

}  // namespace sluice::stream
