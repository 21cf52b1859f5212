#include "nic/runtime_folders.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>

namespace sluice::nic {
namespace {

constexpr std::string_view name_start = "sluice-";
constexpr const char* socket_name = "dpdk_telemetry.v2";

// The process that a folder is named after; 0: it is not named so.
pid_t process_of(const std::string& name) {
  if (!name.starts_with(name_start)) return 0;
  pid_t process = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + name_start.size(), end, process);
  return error == std::errc() && stop == end && process > 0 ? process : 0;
}

// Asked of the socket as well: a process of another PID namespace may share this folder.
bool is_refused(const std::filesystem::path& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.native().size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  const int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return false;
  const int connected = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const bool refused = connected != 0 && errno == ECONNREFUSED;
  close(probe);
  return refused;
}

}  // namespace

uint32_t remove_left_folders(const std::filesystem::path& parent) {
  uint32_t removed = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    const pid_t process = process_of(entry.path().filename().string());
    if (process == 0 || !(kill(process, 0) != 0 && errno == ESRCH)) continue;
    const std::filesystem::path socket_path = entry.path() / socket_name;
    std::error_code ignored;
    const bool has_socket = std::filesystem::is_socket(socket_path, ignored);
    if (has_socket && !is_refused(socket_path)) continue;
    if (has_socket) std::filesystem::remove(socket_path, ignored);
    // Not what is in it: a folder that holds something else stays.
    if (std::filesystem::remove(entry.path(), ignored)) ++removed;
  }
  return removed;
}

}  // namespace sluice::nic
