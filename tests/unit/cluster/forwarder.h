// Forwarder: a loopback port that leads to another, until it is cut. A cut way to an etcd that goes
// on for everybody else.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sluice::cluster {

class Forwarder {
 public:
  explicit Forwarder(int to_port) : to_port_(to_port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 16) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      std::abort();
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Forwarder() {
    stopping_ = true;
    thread_.join();
    close(listener_);
  }
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  [[nodiscard]] std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }
  /// All connections end; new ones are ended as soon as they are made.
  void cut() { cut_ = true; }
  void mend() { cut_ = false; }

 private:
  static sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }

  void run() {
    std::vector<std::pair<int, int>> pairs;
    const auto end = [&](size_t i) {
      close(pairs[i].first);
      close(pairs[i].second);
      pairs.erase(pairs.begin() + static_cast<ptrdiff_t>(i));
    };
    while (!stopping_) {
      if (cut_) {
        while (!pairs.empty()) end(0);
      }
      std::vector<pollfd> waits{{listener_, POLLIN, 0}};
      for (const auto& [one, other] : pairs) {
        waits.push_back({one, POLLIN, 0});
        waits.push_back({other, POLLIN, 0});
      }
      if (poll(waits.data(), waits.size(), 20) <= 0) continue;
      for (size_t i = pairs.size(); i-- > 0;) {
        const auto [one, other] = pairs[i];
        if ((waits[1 + 2 * i].revents != 0 && !move(one, other)) ||
            (waits[2 + 2 * i].revents != 0 && !move(other, one))) {
          end(i);
        }
      }
      if (waits[0].revents != 0) accept_one(pairs);
    }
    while (!pairs.empty()) end(0);
  }

  void accept_one(std::vector<std::pair<int, int>>& pairs) {
    const int from = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (from < 0) return;
    const int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(to_port_);
    if (cut_ || connect(to, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      close(from);
      close(to);
      return;
    }
    pairs.emplace_back(from, to);
  }

  static bool move(int from, int to) {
    std::array<char, 65536> buffer{};
    const ssize_t got = recv(from, buffer.data(), buffer.size(), 0);
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t n =
          send(to, buffer.data() + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += n;
    }
    return got > 0;
  }

  int to_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> cut_{false};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace sluice::cluster
