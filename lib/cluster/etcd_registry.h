// EtcdRegistry: the registry that the nodes of a cluster agree through, in etcd (v3 API, through
// its HTTP gateway). A thread of its own talks; submit() and poll() are for one other thread.
//
//   connect: lease, node key under it, all keys (pages of one revision), watch from there
//   then:    requests (several under way), a keepalive every third of the lease's time, watch
//
// Rules
//  - Every request has a deadline; without an answer it is `unavailable`.
//  - Two thirds of the lease's time after the last keepalive that succeeded (counted from when it
//    was sent) this node is Fenced: the lease is given up, a new one is taken when etcd is back.
//  - A watch goes on at the revision after the last it told. Where that is compacted, or etcd's
//    revision is behind ours (another etcd), everything is read again and the difference told.
//  - Of several endpoints one is used, the next when it fails.
//  - Keys that are not ours and values that do not parse are counted and otherwise not there.
//  - The only clock is CLOCK_MONOTONIC.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "cluster/http_calls.h"
#include "replica/registry.h"
#include "stats/counters.h"

namespace sluice::cluster {

struct EtcdOptions {
  std::vector<std::string> endpoints;  // http://HOST:PORT or https://HOST:PORT
  TlsFiles tls;
  std::string cluster = "default";  // letters, digits, '-', '_', '.'
  replica::NodeSeen self;
  replica::Digests digests;
  Duration lease = 10_s;  // whole seconds, at least 2
  Duration request_deadline = 2_s;
};

class EtcdRegistry {
 public:
  /// Starts the thread. That etcd does not answer is no error: Availability tells.
  /// Errors: no endpoint, or one that is no URL; a cluster's name that cannot be in a key.
  [[nodiscard]] static Result<std::unique_ptr<EtcdRegistry>> create(const EtcdOptions& options);
  /// Ends the thread, within request_deadline. The lease is revoked where etcd answers: others see
  /// at once that this node is gone.
  ~EtcdRegistry();
  EtcdRegistry(const EtcdRegistry&) = delete;
  EtcdRegistry& operator=(const EtcdRegistry&) = delete;

  void submit(replica::RegistryRequest request);
  [[nodiscard]] bool poll(replica::RegistryEvent& out);
  /// Becomes readable when there may be events. poll() until false makes it unreadable.
  [[nodiscard]] int wake_fd() const;

  /// For any thread: one line for reports.
  [[nodiscard]] std::string description() const;
  [[nodiscard]] const stats::Counters& counters() const;

 private:
  struct Parts;
  explicit EtcdRegistry(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::cluster
