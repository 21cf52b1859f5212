#include "nic/kernel_interface.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace sluice::nic {
namespace {

/// A socket to ask about interfaces with; it belongs to the thread's network namespace, as sysfs
/// may not.
class InterfaceSocket {
 public:
  InterfaceSocket() : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
  ~InterfaceSocket() {
    if (fd_ >= 0) close(fd_);
  }
  InterfaceSocket(const InterfaceSocket&) = delete;
  InterfaceSocket& operator=(const InterfaceSocket&) = delete;

  [[nodiscard]] bool ask(unsigned long request, ifreq& subject) const {
    return ioctl(fd_, request, &subject) == 0;
  }

 private:
  int fd_;
};

ifreq about(const std::string& name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), sizeof request.ifr_name - 1);
  return request;
}

/// From the driver, else from sysfs (which shows the namespace it was mounted in), else 1.
void read_queues(const InterfaceSocket& socket, const std::string& name, KernelInterface& into) {
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  ifreq request = about(name);
  request.ifr_data = reinterpret_cast<char*>(&channels);
  uint32_t count = 0;
  if (socket.ask(SIOCETHTOOL, request)) {
    count = channels.combined_count + channels.rx_count;
    into.has_combined_queues = channels.combined_count > 0;
  }
  if (count == 0) {
    std::error_code ignored;
    const std::filesystem::directory_iterator queues("/sys/class/net/" + name + "/queues", ignored);
    for (const auto& entry : queues) {
      if (entry.path().filename().string().starts_with("rx-")) ++count;
    }
  }
  into.rx_queues = static_cast<uint16_t>(std::clamp<uint32_t>(count, 1, UINT16_MAX));
}

}  // namespace

Result<KernelInterface> read_interface(const std::string& name) {
  const InterfaceSocket socket;
  KernelInterface interface;
  ifreq request = about(name);
  if (!socket.ask(SIOCGIFMTU, request)) {
    return fail("interface " + name + ": " + std::strerror(errno) +
                " (is it in this network namespace?)");
  }
  interface.mtu =
      request.ifr_mtu > UINT16_MAX ? uint16_t{UINT16_MAX} : static_cast<uint16_t>(request.ifr_mtu);
  request = about(name);
  if (socket.ask(SIOCGIFFLAGS, request)) interface.is_up = (request.ifr_flags & IFF_UP) != 0;
  read_queues(socket, name, interface);
  return interface;
}

Result<void> set_interface_mtu(const std::string& name, uint16_t mtu) {
  const InterfaceSocket socket;
  ifreq request = about(name);
  request.ifr_mtu = mtu;
  if (socket.ask(SIOCSIFMTU, request)) return {};
  return fail("interface " + name + " does not take an MTU of " + std::to_string(mtu) + ": " +
              std::strerror(errno));
}

RealtimeSignalsIgnored::RealtimeSignalsIgnored(bool wanted) {
  if (!wanted) return;
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  for (int number = SIGRTMIN + 1; number < SIGRTMAX; ++number) {
    struct sigaction current {};
    if (sigaction(number, nullptr, &current) != 0 || current.sa_handler != SIG_DFL) continue;
    if (sigaction(number, &ignore, nullptr) == 0) changed_.push_back(number);
  }
}

RealtimeSignalsIgnored::~RealtimeSignalsIgnored() {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (const int number : changed_) sigaction(number, &standard, nullptr);
}

}  // namespace sluice::nic
