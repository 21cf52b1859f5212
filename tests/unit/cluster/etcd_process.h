// A real etcd of the test's own: on loopback ports that were free, in a folder of its own, ended by
// its process id. Skipped by name where etcd is not installed.
#pragma once

#include <sys/types.h>

#include <string>

namespace sluice::cluster {

class EtcdProcess {
 public:
  /// Whether there is an etcd to run.
  [[nodiscard]] static bool is_installed();

  EtcdProcess();
  ~EtcdProcess();
  EtcdProcess(const EtcdProcess&) = delete;
  EtcdProcess& operator=(const EtcdProcess&) = delete;

  /// Starts it, and waits until it answers. False: it does not; see log().
  [[nodiscard]] bool start();
  /// As a power cut would.
  void kill();
  void stop();    // SIGSTOP
  void resume();  // SIGCONT
  /// Forgets the data: the next start() is a new etcd.
  void forget();

  [[nodiscard]] std::string endpoint() const;
  [[nodiscard]] int port() const { return client_port_; }
  /// etcdctl with these words; its output. For what an operator would do.
  std::string control(const std::string& words) const;
  [[nodiscard]] std::string log() const;

 private:
  std::string folder_;
  int client_port_ = 0;
  int peer_port_ = 0;
  pid_t process_ = 0;
};

}  // namespace sluice::cluster
