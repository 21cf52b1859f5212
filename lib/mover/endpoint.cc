#include "mover/endpoint.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

namespace sluice::mover {
namespace {

addrinfo hints_of(int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  return hints;
}

SocketAddress from(const addrinfo& info) {
  SocketAddress out;
  out.length = info.ai_addrlen;
  std::memcpy(&out.storage, info.ai_addr, info.ai_addrlen);
  return out;
}

Result<SocketAddress> first_of(const char* host, const char* port, int flags) {
  const addrinfo hints = hints_of(flags);
  addrinfo* list = nullptr;
  if (const int error = getaddrinfo(host, port, &hints, &list); error != 0) {
    return fail(gai_strerror(error));
  }
  const SocketAddress out = from(*list);
  freeaddrinfo(list);
  return out;
}

bool is_port(std::string_view text) {
  if (text.empty() || text.size() > 5) return false;
  uint32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  return value <= 65'535;
}

}  // namespace

Result<HostPort> parse_host_port(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || !is_port(text.substr(colon + 1))) {
    return fail(fmt::format("'{}' is no HOST:PORT", text));
  }
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return fail(fmt::format("'{}': an IPv6 address stands in brackets: [{}]:PORT", text, host));
  }
  return HostPort{std::string(host), std::string(text.substr(colon + 1))};
}

std::string SocketAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> host{};
  if (storage.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &storage, sizeof v4);
    inet_ntop(AF_INET, &v4.sin_addr, host.data(), host.size());
    return fmt::format("{}:{}", host.data(), ntohs(v4.sin_port));
  }
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &storage, sizeof v6);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], host.data(), host.size());
      return fmt::format("{}:{}", host.data(), ntohs(v6.sin6_port));
    }
    inet_ntop(AF_INET6, &v6.sin6_addr, host.data(), host.size());
    return fmt::format("[{}]:{}", host.data(), ntohs(v6.sin6_port));
  }
  return "?";
}

Result<SocketAddress> passive_address(std::string_view text) {
  const Result<HostPort> parts = parse_host_port(text);
  if (!parts) return fail(parts.error());
  if (parts->host.empty()) {
    // IPv6's any address takes IPv4, too; where the kernel has no IPv6, IPv4's.
    Result<SocketAddress> v6 = first_of("::", parts->port.c_str(), AI_PASSIVE);
    const int probe = v6 ? socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (probe >= 0) {
      ::close(probe);
      return v6;
    }
    return first_of("0.0.0.0", parts->port.c_str(), AI_PASSIVE);
  }
  Result<SocketAddress> out = first_of(parts->host.c_str(), parts->port.c_str(), AI_PASSIVE);
  if (!out) return fail(out.error().in(fmt::format("'{}'", parts->host)));
  return out;
}

Result<SocketAddress> local_address(std::string_view text) {
  const std::string host(text);
  Result<SocketAddress> out = first_of(host.c_str(), "0", AI_NUMERICHOST | AI_PASSIVE);
  if (!out) return fail(fmt::format("'{}' is no IP address", text));
  return out;
}

// What getaddrinfo_a reads and writes while it works: outlives a Lookup that is given up.
struct Lookup::Request {
  HostPort target;
  addrinfo hints{};
  gaicb control{};

  ~Request() {
    if (control.ar_result != nullptr) freeaddrinfo(control.ar_result);
  }
};

Lookup::Lookup(std::string_view text) {
  Result<HostPort> target = parse_host_port(text);
  if (!target || target->host.empty()) {
    state_ = State::failed;
    why_ = "the address is no HOST:PORT";
    return;
  }
  request_ = std::make_unique<Request>();
  request_->target = std::move(*target);
  gaicb& control = request_->control;
  control.ar_name = request_->target.host.c_str();
  control.ar_service = request_->target.port.c_str();
  control.ar_request = &request_->hints;
  // A number needs no look-up, and no thread of the C library's.
  request_->hints = hints_of(AI_NUMERICHOST);
  if (getaddrinfo(control.ar_name, control.ar_service, &request_->hints, &control.ar_result) == 0) {
    finish(0);
    return;
  }
  control.ar_result = nullptr;
  request_->hints = hints_of(AI_ADDRCONFIG);
  gaicb* list = &control;
  sigevent quiet{};
  quiet.sigev_notify = SIGEV_NONE;
  if (const int error = getaddrinfo_a(GAI_NOWAIT, &list, 1, &quiet); error != 0) finish(error);
}

Lookup::~Lookup() {
  if (request_ == nullptr || state_ != State::pending) return;
  if (gai_cancel(&request_->control) == EAI_NOTCANCELED) {
    // The C library's thread still writes there; a few hundred bytes for each such look-up.
    static_cast<void>(request_.release());
  }
}

Lookup::State Lookup::poll() {
  if (state_ != State::pending) return state_;
  const int error = gai_error(&request_->control);
  if (error != EAI_INPROGRESS) finish(error);
  return state_;
}

void Lookup::finish(int error) {
  state_ = State::failed;
  if (error != 0) {
    why_ = error == EAI_AGAIN ? "the name server does not answer" : "the name is not known";
    return;
  }
  for (const addrinfo* each = request_->control.ar_result; each != nullptr; each = each->ai_next) {
    if (!addresses_.push_back(from(*each))) break;
  }
  if (addresses_.empty()) {
    why_ = "the name has no address";
    return;
  }
  state_ = State::found;
}

}  // namespace sluice::mover
