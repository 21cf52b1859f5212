// EtcdRegistry::Parts: the thread that speaks with etcd, and what it shares with the other. For the
// files of EtcdRegistry alone: etcd_registry.cc has both threads' courses and the calls,
// etcd_transactions.cc what a request becomes.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/time.h"
#include "cluster/etcd_messages.h"
#include "cluster/etcd_registry.h"
#include "cluster/http_calls.h"
#include "stats/counters.h"

namespace sluice::cluster {

using replica::Record;
using replica::RegistryEvent;
using replica::RegistryOutcome;
using replica::RegistryRequest;

// Between two attempts to connect; doubled up to longest_pause.
inline constexpr Duration first_pause = 100_ms;

/// What a request becomes: a transaction, or an answer that needs no asking.
struct Asked {
  std::optional<RegistryOutcome> outcome;
  std::string body;
  bool done_if_not = false;  // comparisons that do not hold: it is done already
};

struct EtcdRegistry::Parts {
  struct Known {
    int64_t mod_revision = 0;
    Entry entry;
  };

  explicit Parts(const EtcdOptions& given)
      : options(given), keys(given.cluster), calls(given.tls), counters(new stats::Counters) {}

  // The thread
  void run();
  bool connect();
  bool take_lease();
  bool read_all();
  bool start_watch();
  void turn();
  void disconnect(const std::string& why);
  void fence();
  void check_fence();
  void pause();
  void farewell();

  // Calls
  std::optional<std::string> ask(const char* path, std::string body);
  void send_requests();
  void handle_done(const HttpCalls::Done& done);
  void handle_answer(uint32_t number, const HttpCalls::Done& done);
  void handle_lines();
  bool handle_watch(const WatchMessage& message);
  void refuse_waiting();

  // Requests
  Asked transaction(const RegistryRequest& request);
  Asked transaction_of(const replica::PutRecord& put);
  Asked transaction_of(const replica::DropRecord& drop);
  Asked transaction_of(const replica::Commit& commit);
  [[nodiscard]] const Known* known(const std::string& key) const;
  [[nodiscard]] int64_t revision_of(const std::string& key) const;
  template <typename T>
  [[nodiscard]] const T* record(const std::string& key) const;

  // What is there
  void put(const KeyValue& key);
  void remove(const std::string& key);

  void tell(RegistryEvent event);
  void answer(uint32_t number, RegistryOutcome outcome);
  void set_available(bool now_available, const std::string& why);
  [[nodiscard]] std::string url(const char* path) const {
    return options.endpoints[endpoint] + path;
  }

  const EtcdOptions options;
  const Keys keys;
  HttpCalls calls;
  std::unique_ptr<stats::Counters> counters;
  std::thread thread;
  int event_fd = -1;
  std::atomic<bool> stopping{false};

  // Between the threads
  mutable std::mutex mutex;
  std::deque<RegistryRequest> submitted;
  std::deque<RegistryEvent> events;
  std::string state = "not connected yet";

  // The thread's own
  size_t endpoint = 0;
  bool connected = false;
  bool available = false;
  bool was_synced = false;
  bool must_read_all = true;
  int64_t lease = 0;
  int64_t old_lease = 0;
  Instant lease_good;  // when the last keepalive that succeeded was sent
  Instant keepalive_at;
  bool keepalive_under_way = false;
  Instant keepalive_sent;
  int64_t revision = 0;
  bool watch_created = false;
  std::map<std::string, Known> cache;
  std::deque<RegistryRequest> waiting;
  struct UnderWay {
    bool done_if_not = false;
  };
  std::map<uint32_t, UnderWay> under_way;
  Duration next_pause = first_pause;
};

}  // namespace sluice::cluster
