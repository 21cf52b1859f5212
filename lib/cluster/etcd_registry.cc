#include "cluster/etcd_registry.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "cluster/etcd_messages.h"
#include "cluster/etcd_registry_parts.h"

namespace sluice::cluster {
namespace {

using stats::Counter;

// Requests under way at a time: enough that etcd's disk, not the way there, is what limits.
constexpr size_t in_flight_max = 16;
// Keys in one page of what is read at first.
constexpr int64_t page_keys = 256;
constexpr Duration longest_pause = 1_s;

// Tags of calls; a request's is its number, with this bit.
constexpr uint64_t tag_step = 1;  // of connecting
constexpr uint64_t tag_keepalive = 2;
constexpr uint64_t tag_watch = 3;
constexpr uint64_t tag_request = uint64_t{1} << 32;

// gRPC status codes (grpc/doc/statuscodes.md).
constexpr int64_t invalid_argument = 3;
constexpr int64_t not_found = 5;

Instant monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Instant::from_ns(int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec);
}

uint32_t number_of(const RegistryRequest& request) {
  return std::visit([](const auto& one) { return one.request; }, request);
}

}  // namespace

// The other thread's side

Result<std::unique_ptr<EtcdRegistry>> EtcdRegistry::create(const EtcdOptions& options) {
  if (options.endpoints.empty()) return fail("etcd: no endpoint is given");
  auto parts_options = options;
  for (std::string& endpoint : parts_options.endpoints) {
    if (!endpoint.starts_with("http://") && !endpoint.starts_with("https://")) {
      return fail("etcd: endpoint '" + endpoint + "' does not begin with http:// or https://");
    }
    while (endpoint.ends_with('/')) endpoint.pop_back();
  }
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (options.cluster.empty() || options.cluster.size() > 64 ||
      !std::all_of(options.cluster.begin(), options.cluster.end(), is_plain)) {
    return fail("etcd: the cluster's name '" + options.cluster +
                "' is not 1 to 64 letters, digits, '-', '_' or '.'");
  }
  if (options.lease < 2_s || options.lease.ns() % (1_s).ns() != 0) {
    return fail("etcd: the lease must be whole seconds, at least 2");
  }
  auto parts = std::make_unique<Parts>(parts_options);
  parts->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (parts->event_fd < 0) return fail(std::string("etcd: eventfd: ") + std::strerror(errno));
  std::unique_ptr<EtcdRegistry> registry(new EtcdRegistry(std::move(parts)));
  registry->parts_->thread = std::thread([raw = registry->parts_.get()] { raw->run(); });
  return registry;
}

EtcdRegistry::EtcdRegistry(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

EtcdRegistry::~EtcdRegistry() {
  parts_->stopping = true;
  parts_->calls.wake();
  if (parts_->thread.joinable()) parts_->thread.join();
  close(parts_->event_fd);
}

void EtcdRegistry::submit(RegistryRequest request) {
  {
    const std::lock_guard lock(parts_->mutex);
    parts_->submitted.push_back(std::move(request));
  }
  parts_->calls.wake();
}

bool EtcdRegistry::poll(RegistryEvent& out) {
  const std::lock_guard lock(parts_->mutex);
  if (parts_->events.empty()) {
    uint64_t count = 0;
    (void)!read(parts_->event_fd, &count, sizeof count);
    return false;
  }
  out = std::move(parts_->events.front());
  parts_->events.pop_front();
  return true;
}

int EtcdRegistry::wake_fd() const {
  return parts_->event_fd;
}

std::string EtcdRegistry::description() const {
  const std::lock_guard lock(parts_->mutex);
  return "etcd, cluster " + parts_->options.cluster + ": " + parts_->state;
}

const stats::Counters& EtcdRegistry::counters() const {
  return *parts_->counters;
}

// The thread

void EtcdRegistry::Parts::run() {
  while (!stopping) {
    if (connected) {
      turn();
      continue;
    }
    if (connect()) {
      next_pause = first_pause;
      continue;
    }
    calls.cancel_all();
    endpoint = (endpoint + 1) % options.endpoints.size();
    check_fence();
    refuse_waiting();
    // Through all of them without a pause; then a while.
    if (endpoint == 0) pause();
  }
  farewell();
}

bool EtcdRegistry::Parts::connect() {
  calls.cancel_all();
  if (!take_lease()) return false;
  auto self = PutOp{keys.node(options.self.node), node_value(options.self), lease};
  if (!ask("/v3/kv/txn", txn_request({}, {self}))) return false;
  if (old_lease != 0) {
    // What was put under it and not again under the new one goes with it.
    if (!ask("/v3/lease/revoke", lease_request(old_lease))) return false;
    old_lease = 0;
  }
  if (must_read_all && !read_all()) return false;
  if (!start_watch()) return false;
  connected = true;
  keepalive_under_way = false;
  keepalive_at = lease_good + options.lease / 3;
  set_available(true, "connected to " + options.endpoints[endpoint]);
  if (!was_synced) tell(replica::Synced{});
  was_synced = true;
  return true;
}

bool EtcdRegistry::Parts::take_lease() {
  const Instant sent = monotonic_now();
  if (lease != 0) {
    const auto body = ask("/v3/lease/keepalive", lease_request(lease));
    if (!body) return false;
    const auto left = parse_keepalive(*body);
    if (!left) return false;
    if (*left > 0) {
      lease_good = sent;
      return true;
    }
    fence();  // it has run out
  }
  const auto body = ask("/v3/lease/grant", grant_request(options.lease / 1_s));
  if (!body) return false;
  const auto id = parse_grant(*body);
  if (!id) return false;
  lease = *id;
  lease_good = sent;
  return true;
}

/// All keys at one revision. What is not there any more is told as gone.
bool EtcdRegistry::Parts::read_all() {
  std::map<std::string, KeyValue> found;
  std::string from = keys.prefix();
  const std::string end = end_of_prefix(keys.prefix());
  int64_t at = 0;
  for (bool more = true; more;) {
    const auto body = ask("/v3/kv/range", range_request(from, end, at, page_keys));
    if (!body) return false;
    auto page = parse_range(*body);
    if (!page) return false;
    if (at == 0) at = page->revision;
    more = page->more && !page->keys.empty();
    if (!page->keys.empty()) from = page->keys.back().key + '\0';
    for (KeyValue& key : page->keys) {
      std::string name = key.key;
      found.emplace(std::move(name), std::move(key));
    }
  }
  counters->add(Counter::cluster_reads_of_all);
  std::vector<std::string> gone;
  for (const auto& [key, value] : cache) {
    if (!found.contains(key)) gone.push_back(key);
  }
  for (const std::string& key : gone) remove(key);
  // What paths lead to comes first: what is superseded is then known to be.
  for (const char* kind : {"node/", "current/", "manifest/", "assignment/", "mark/"}) {
    const std::string prefix = keys.prefix() + kind;
    for (auto it = found.lower_bound(prefix); it != found.end() && it->first.starts_with(prefix);
         ++it) {
      if (revision_of(it->first) != it->second.mod_revision) put(it->second);
    }
  }
  revision = at;
  must_read_all = false;
  return true;
}

bool EtcdRegistry::Parts::start_watch() {
  watch_created = false;
  calls.start_stream(tag_watch, url("/v3/watch"), watch_request(keys.prefix(), revision + 1));
  const Instant give_up = monotonic_now() + options.request_deadline;
  while (!watch_created && !must_read_all && !stopping) {
    const Instant now = monotonic_now();
    if (now >= give_up) return false;
    calls.wait(give_up - now);
    handle_lines();
    HttpCalls::Done done;
    if (calls.poll(done)) return false;
  }
  return watch_created && !must_read_all;
}

void EtcdRegistry::Parts::turn() {
  send_requests();
  const Instant now = monotonic_now();
  if (!keepalive_under_way && now >= keepalive_at) {
    keepalive_under_way = true;
    keepalive_sent = now;
    calls.start(tag_keepalive, url("/v3/lease/keepalive"), lease_request(lease),
                std::min(options.request_deadline, options.lease / 3));
  }
  // The keepalive under way has a deadline of its own and ends before the fence is near.
  calls.wait(keepalive_under_way ? 1_s : keepalive_at - now);
  handle_lines();
  HttpCalls::Done done;
  while (connected && calls.poll(done)) handle_done(done);
  if (connected && must_read_all) disconnect("the watch is to begin anew");
  check_fence();
}

void EtcdRegistry::Parts::disconnect(const std::string& why) {
  connected = false;
  calls.cancel_all();
  counters->add(Counter::cluster_connections_lost);
  {
    const std::lock_guard lock(mutex);
    state = why;
  }
  for (const auto& [number, call] : under_way) answer(number, RegistryOutcome::unavailable);
  under_way.clear();
}

void EtcdRegistry::Parts::fence() {
  if (lease == 0) return;
  old_lease = lease;
  lease = 0;
  counters->add(Counter::cluster_fenced);
  set_available(false, "the lease is lost");
  tell(replica::Fenced{});
}

void EtcdRegistry::Parts::check_fence() {
  if (lease == 0 || monotonic_now() < lease_good + options.lease * 2 / 3) return;
  if (connected) disconnect("no keepalive was answered");
  fence();
}

/// No endpoint can be used now.
void EtcdRegistry::Parts::pause() {
  set_available(false, "no endpoint answers");
  const Instant until = monotonic_now() + next_pause;
  next_pause = std::min(next_pause * 2, longest_pause);
  for (Instant now = monotonic_now(); now < until && !stopping; now = monotonic_now()) {
    calls.wait(until - now);
    refuse_waiting();
    check_fence();
  }
}

/// So that the others need not wait for the lease to run out.
void EtcdRegistry::Parts::farewell() {
  if (!connected || lease == 0) return;
  calls.cancel_all();
  calls.start(tag_step, url("/v3/lease/revoke"), lease_request(lease), options.request_deadline);
  const Instant give_up = monotonic_now() + options.request_deadline;
  HttpCalls::Done done;
  while (!calls.poll(done) && monotonic_now() < give_up) calls.wait(100_ms);
}

// Calls

/// One call of connecting, waited for. Nothing: no endpoint, no answer, or a failure.
std::optional<std::string> EtcdRegistry::Parts::ask(const char* path, std::string body) {
  calls.start(tag_step, url(path), std::move(body), options.request_deadline);
  HttpCalls::Done done;
  const Instant give_up = monotonic_now() + options.request_deadline * 2;
  while (!calls.poll(done)) {
    if (stopping || monotonic_now() > give_up) {
      calls.cancel_all();
      return std::nullopt;
    }
    calls.wait(100_ms);
  }
  if (done.answered && done.status == 200) return std::move(done.body);
  const Failure failure = parse_failure(done.body);
  const bool lease_is_gone = done.answered && failure.code == not_found;
  if (lease_is_gone && std::strcmp(path, "/v3/lease/revoke") == 0) return std::string("{}");
  if (lease_is_gone && lease != 0) fence();
  const std::lock_guard lock(mutex);
  state = options.endpoints[endpoint] + ": " + (done.answered ? failure.message : done.error);
  return std::nullopt;
}

void EtcdRegistry::Parts::send_requests() {
  {
    const std::lock_guard lock(mutex);
    std::move(submitted.begin(), submitted.end(), std::back_inserter(waiting));
    submitted.clear();
  }
  while (!waiting.empty() && under_way.size() < in_flight_max) {
    const RegistryRequest request = std::move(waiting.front());
    waiting.pop_front();
    const uint32_t number = number_of(request);
    counters->add(Counter::cluster_requests);
    Asked asked = transaction(request);
    if (asked.outcome) {
      answer(number, *asked.outcome);
      continue;
    }
    under_way[number] = {asked.done_if_not};
    calls.start(tag_request | number, url("/v3/kv/txn"), std::move(asked.body),
                options.request_deadline);
  }
}

void EtcdRegistry::Parts::refuse_waiting() {
  {
    const std::lock_guard lock(mutex);
    std::move(submitted.begin(), submitted.end(), std::back_inserter(waiting));
    submitted.clear();
  }
  for (const RegistryRequest& request : waiting) {
    counters->add(Counter::cluster_requests);
    answer(number_of(request), RegistryOutcome::unavailable);
  }
  waiting.clear();
}

void EtcdRegistry::Parts::handle_done(const HttpCalls::Done& done) {
  if (done.tag == tag_watch) {
    disconnect("the watch ended");
  } else if (done.tag == tag_keepalive) {
    keepalive_under_way = false;
    const auto left = done.status == 200 ? parse_keepalive(done.body) : std::nullopt;
    if (!done.answered || !left) {
      disconnect("a keepalive failed");
    } else if (*left <= 0) {
      disconnect("the lease ran out");
      fence();
    } else {
      lease_good = keepalive_sent;
      keepalive_at = keepalive_sent + options.lease / 3;
    }
  } else if ((done.tag & tag_request) != 0) {
    handle_answer(static_cast<uint32_t>(done.tag), done);
  }
}

void EtcdRegistry::Parts::handle_answer(uint32_t number, const HttpCalls::Done& done) {
  const auto found = under_way.find(number);
  if (found == under_way.end()) return;
  const bool done_if_not = found->second.done_if_not;
  under_way.erase(found);
  if (done.answered && done.status == 200) {
    const auto succeeded = parse_txn(done.body);
    if (!succeeded) {
      answer(number, RegistryOutcome::unavailable);
    } else {
      answer(number, *succeeded || done_if_not ? RegistryOutcome::done : RegistryOutcome::conflict);
    }
    return;
  }
  const Failure failure = parse_failure(done.body);
  answer(number, done.answered && failure.code == invalid_argument ? RegistryOutcome::refused
                                                                   : RegistryOutcome::unavailable);
  if (done.answered && failure.code == not_found) {
    disconnect("the lease ran out");
    fence();
  }
}

void EtcdRegistry::Parts::handle_lines() {
  std::string line;
  while (calls.poll_line(line)) {
    const auto message = parse_watch(line);
    if (!message || !handle_watch(*message)) must_read_all = true;
  }
}

/// False: it cannot go on from here.
bool EtcdRegistry::Parts::handle_watch(const WatchMessage& message) {
  // Another etcd, or one that has lost what it told us.
  if (message.revision < revision) return false;
  if (message.canceled) return false;  // compacted
  if (message.created) watch_created = true;
  for (const Change& change : message.changes) {
    revision = std::max(revision, change.key.mod_revision);
    if (!change.key.key.starts_with(keys.prefix())) continue;
    if (change.deleted) {
      remove(change.key.key);
    } else {
      put(change.key);
    }
  }
  return true;
}

// What is there

void EtcdRegistry::Parts::put(const KeyValue& key) {
  Entry entry = understand(keys, key.key, key.value, options.digests);
  if (std::holds_alternative<Unknown>(entry)) {
    counters->add(Counter::cluster_foreign);
    remove(key.key);  // what was there is no more
  } else if (const auto* node = std::get_if<replica::NodeSeen>(&entry)) {
    tell(*node);
  } else {
    tell(replica::RecordSeen{std::get<Record>(entry)});
  }
  cache[key.key] = {key.mod_revision, std::move(entry)};
}

void EtcdRegistry::Parts::remove(const std::string& key) {
  const auto found = cache.find(key);
  if (found == cache.end()) return;
  const Entry entry = std::move(found->second.entry);
  cache.erase(found);
  using What = replica::DropRecord::What;
  if (const auto* node = std::get_if<replica::NodeSeen>(&entry)) {
    tell(replica::NodeGone{node->node, node->epoch});
    return;
  }
  const auto* any = std::get_if<Record>(&entry);
  if (any == nullptr) return;
  if (const auto* manifest = std::get_if<replica::Manifest>(any)) {
    tell(replica::RecordGone{What::generation, manifest->generation, {}});
  } else if (const auto* mark = std::get_if<replica::Mark>(any)) {
    tell(replica::RecordGone{What::mark, mark->generation, mark->node});
  } else if (const auto* current = std::get_if<replica::Current>(any)) {
    // Nobody of ours deletes it. An operator did: unpublished.
    tell(replica::RecordSeen{replica::Current{current->path, {}, current->generation.number}});
  }
}

void EtcdRegistry::Parts::tell(RegistryEvent event) {
  const std::lock_guard lock(mutex);
  events.push_back(std::move(event));
  const uint64_t one = 1;
  (void)!write(event_fd, &one, sizeof one);
}

void EtcdRegistry::Parts::answer(uint32_t number, RegistryOutcome outcome) {
  if (outcome == RegistryOutcome::unavailable) counters->add(Counter::cluster_unavailable);
  if (outcome == RegistryOutcome::conflict) counters->add(Counter::cluster_conflicts);
  tell(replica::RegistryAnswer{number, outcome});
}

void EtcdRegistry::Parts::set_available(bool now_available, const std::string& why) {
  {
    const std::lock_guard lock(mutex);
    if (now_available) state = why;
  }
  if (now_available == available) return;
  available = now_available;
  tell(replica::Availability{available});
}

}  // namespace sluice::cluster
