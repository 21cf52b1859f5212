// Endpoints: HOST:PORT as people write it, and the socket addresses behind it. A name is looked up
// without holding up the caller (getaddrinfo_a).
#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/fixed_vector.h"
#include "base/result.h"

namespace sluice::mover {

struct HostPort {
  std::string host;  // without brackets; empty: every address
  std::string port;
};
/// "host:port", "192.0.2.1:7900", "[2001:db8::1]:7900", ":7900".
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view text);

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  /// "192.0.2.1:7900", "[2001:db8::1]:7900".
  [[nodiscard]] std::string text() const;
};

/// An address to listen on. A name is looked up at once, which may take its time.
[[nodiscard]] Result<SocketAddress> passive_address(std::string_view text);
/// A numeric address without a port, to bind to.
[[nodiscard]] Result<SocketAddress> local_address(std::string_view text);

/// Looks one endpoint up. Made anew for each dial.
class Lookup {
 public:
  enum class State : uint8_t { pending, found, failed };
  static constexpr size_t addresses_max = 4;

  explicit Lookup(std::string_view text);
  /// A look-up that still runs goes on by itself, and its answer is dropped.
  ~Lookup();
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

  [[nodiscard]] State poll();
  /// Requires: found.
  [[nodiscard]] const FixedVector<SocketAddress, addresses_max>& addresses() const {
    return addresses_;
  }
  /// Requires: failed. Static text.
  [[nodiscard]] const char* why() const { return why_; }

 private:
  struct Request;
  void finish(int error);

  std::unique_ptr<Request> request_;
  State state_ = State::pending;
  FixedVector<SocketAddress, addresses_max> addresses_;
  const char* why_ = "";
};

}  // namespace sluice::mover
