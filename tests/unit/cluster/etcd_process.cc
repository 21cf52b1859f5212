#include "etcd_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

namespace sluice::cluster {
namespace {

/// A loopback port that nothing listens on now.
int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::abort();
  }
  close(fd);
  return ntohs(address.sin_port);
}

std::string url(int port) {
  return "http://127.0.0.1:" + std::to_string(port);
}

}  // namespace

bool EtcdProcess::is_installed() {
  return access("/usr/bin/etcd", X_OK) == 0 && access("/usr/bin/etcdctl", X_OK) == 0;
}

EtcdProcess::EtcdProcess() : client_port_(free_port()), peer_port_(free_port()) {
  std::string name = (std::filesystem::temp_directory_path() / "sluice-etcd-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) std::abort();
  folder_ = name;
}

EtcdProcess::~EtcdProcess() {
  kill();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string EtcdProcess::endpoint() const {
  return url(client_port_);
}

bool EtcdProcess::start() {
  const std::string data = folder_ + "/data";
  const std::string log_path = folder_ + "/log";
  const std::string client = url(client_port_);
  const std::string peer = url(peer_port_);
  const std::string initial = "one=" + peer;
  const std::vector<const char*> words{"etcd",          "--name",
                                       "one",           "--data-dir",
                                       data.c_str(),    "--listen-client-urls",
                                       client.c_str(),  "--advertise-client-urls",
                                       client.c_str(),  "--listen-peer-urls",
                                       peer.c_str(),    "--initial-advertise-peer-urls",
                                       peer.c_str(),    "--initial-cluster",
                                       initial.c_str(), nullptr};
  process_ = fork();
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int log_fd = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log_fd, 1);
    dup2(log_fd, 2);
    execv("/usr/bin/etcd", const_cast<char* const*>(words.data()));
    _exit(127);
  }
  for (int tries = 0; tries < 600; ++tries) {
    if (control("endpoint health").find("is healthy") != std::string::npos) return true;
    if (waitpid(process_, nullptr, WNOHANG) == process_) {
      process_ = 0;
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

void EtcdProcess::kill() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
  process_ = 0;
}

void EtcdProcess::stop() {
  ::kill(process_, SIGSTOP);
}

void EtcdProcess::resume() {
  ::kill(process_, SIGCONT);
}

void EtcdProcess::forget() {
  std::filesystem::remove_all(folder_ + "/data");
}

std::string EtcdProcess::control(const std::string& words) const {
  const std::string command = "ETCDCTL_API=3 timeout 10 /usr/bin/etcdctl --endpoints=127.0.0.1:" +
                              std::to_string(client_port_) + " " + words + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::string output;
  std::array<char, 4096> buffer{};
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    output.append(buffer.data(), n);
  }
  pclose(pipe);
  return output;
}

std::string EtcdProcess::log() const {
  std::ifstream in(folder_ + "/log");
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace sluice::cluster
