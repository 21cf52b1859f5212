#include "load.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "exchange.h"
#include "monotonic.h"

namespace sluice::perf {

namespace {

struct Connection {
  int descriptor = -1;
  bool connected = false;
  uint32_t requests_left = 0;
  Instant started;  // the request that is under way
  Exchange exchange;
};

class Load {
 public:
  explicit Load(const LoadOptions& options)
      : options_(options), poll_(epoll_create1(EPOLL_CLOEXEC)), connections_(options.concurrent) {
    const std::string head = "GET " + options.path + " HTTP/1.1\r\nHost: perf\r\n";
    request_ = head + "\r\n";
    last_request_ = options.ask_to_close ? head + "Connection: close\r\n\r\n" : request_;
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() { close(poll_); }

  LoadResult run() {
    const Instant started = monotonic_now();
    const Instant deadline = started + options_.time_max;
    Instant looked = started;
    for (size_t i = 0; i < connections_.size(); ++i) open_next(i);
    std::array<epoll_event, 256> events{};
    while (open_ > 0) {
      const int count = epoll_wait(poll_, events.data(), static_cast<int>(events.size()), 100);
      for (int i = 0; i < count; ++i) handle(events[static_cast<size_t>(i)]);
      const Instant now = monotonic_now();
      if (now - looked > 100_ms) {
        give_up_the_slow(now);
        looked = now;
      }
      if (now > deadline) break;
    }
    result_.taken = monotonic_now() - started;
    for (Connection& connection : connections_) {
      if (connection.descriptor >= 0) end(connection, "not finished in time");
    }
    const uint64_t never = options_.connections - result_.connections;
    if (never > 0) result_.failures["never opened"] = never;
    std::ranges::sort(result_.times);
    return std::move(result_);
  }

 private:
  void open_next(size_t place);
  void handle(const epoll_event& event);
  void send_request(Connection& connection);
  void receive(size_t place);
  void note_answer(Connection& connection);
  void end(Connection& connection, const std::string& failure);
  void end_and_open(size_t place, const std::string& failure) {
    end(connections_[place], failure);
    open_next(place);
  }
  void give_up_the_slow(Instant now) {
    for (size_t i = 0; i < connections_.size(); ++i) {
      if (connections_[i].descriptor < 0 || now - connections_[i].started <= options_.patience)
        continue;
      end_and_open(
          i, connections_[i].connected ? "no whole response in time" : "not connected in time");
    }
  }

  const LoadOptions& options_;
  int poll_;
  std::vector<Connection> connections_;
  std::string request_;
  std::string last_request_;
  uint32_t open_ = 0;
  LoadResult result_;
};

void Load::open_next(size_t place) {
  while (result_.connections < options_.connections) {
    Connection& connection = connections_[place];
    const uint64_t number = result_.connections++;
    connection = {.requests_left = options_.requests, .started = monotonic_now()};
    connection.descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection.descriptor < 0) {
      ++result_.failures[std::string("socket: ") + std::strerror(errno)];
      continue;
    }
    ++open_;
    const int on = 1;
    setsockopt(connection.descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    int rc = 0;
    if (!options_.sources.empty()) {
      setsockopt(connection.descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
      sockaddr_in source{};
      source.sin_family = AF_INET;
      source.sin_addr = options_.sources[number % options_.sources.size()];
      rc = bind(connection.descriptor, reinterpret_cast<const sockaddr*>(&source), sizeof(source));
    }
    if (rc == 0) {
      rc = connect(connection.descriptor, reinterpret_cast<const sockaddr*>(&options_.server),
                   sizeof(options_.server));
    }
    if (rc != 0 && errno != EINPROGRESS) {
      end(connection, std::string("connect: ") + std::strerror(errno));
      continue;
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.u64 = place;
    epoll_ctl(poll_, EPOLL_CTL_ADD, connection.descriptor, &event);
    return;
  }
}

void Load::handle(const epoll_event& event) {
  const auto place = static_cast<size_t>(event.data.u64);
  Connection& connection = connections_[place];
  if (connection.descriptor < 0) return;
  if (!connection.connected) {
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(connection.descriptor, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
      end_and_open(place, std::string("connect: ") + std::strerror(error));
      return;
    }
    if ((event.events & EPOLLOUT) == 0) return;
    connection.connected = true;
    send_request(connection);
  }
  if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(place);
}

// A request is a hundred bytes on an empty send buffer: it is taken whole or the connection is
// dead, which the next read tells.
void Load::send_request(Connection& connection) {
  const std::string& request = connection.requests_left == 1 ? last_request_ : request_;
  [[maybe_unused]] const ssize_t sent =
      send(connection.descriptor, request.data(), request.size(), MSG_NOSIGNAL);
}

void Load::receive(size_t place) {
  Connection& connection = connections_[place];
  static std::array<char, 65'536> buffer;
  for (;;) {
    const ssize_t count = recv(connection.descriptor, buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
      end_and_open(place,
                   count == 0 ? "closed early" : std::string("read: ") + std::strerror(errno));
      return;
    }
    const Progress progress = connection.exchange.read({buffer.data(), static_cast<size_t>(count)});
    if (progress == Progress::bad ||
        (connection.exchange.status() != 0 && connection.exchange.status() != 200)) {
      end_and_open(place, "status " + std::to_string(connection.exchange.status()));
      return;
    }
    if (options_.abort_after != 0 && connection.exchange.body_bytes() >= options_.abort_after) {
      const linger at_once{.l_onoff = 1, .l_linger = 0};  // close() sends an RST
      setsockopt(connection.descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
      note_answer(connection);
      end_and_open(place, "");
      return;
    }
    if (progress != Progress::complete) continue;
    note_answer(connection);
    if (--connection.requests_left == 0) {
      end_and_open(place, "");
      return;
    }
    connection.exchange.restart();
    connection.started = monotonic_now();
    send_request(connection);
  }
}

void Load::note_answer(Connection& connection) {
  ++result_.answered;
  result_.times.push_back(monotonic_now() - connection.started);
}

void Load::end(Connection& connection, const std::string& failure) {
  close(connection.descriptor);
  connection.descriptor = -1;
  --open_;
  if (!failure.empty()) ++result_.failures[failure];
}

}  // namespace

LoadResult run_load(const LoadOptions& options) {
  return Load(options).run();
}

}  // namespace sluice::perf
