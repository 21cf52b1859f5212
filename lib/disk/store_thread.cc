#include "disk/store_thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <ctime>
#include <variant>

namespace sluice::disk {
namespace {

using stats::Counter;

// Messages taken from one worker before the others have their turn.
constexpr uint32_t messages_per_turn = 64;
// The longest sleep: a bound on what a lost wake-up could cost.
constexpr Duration sleep_max = 1_s;
// A worker whose ring is full makes room without telling.
constexpr Duration full_ring_retry = 200_us;

Instant monotonic_now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Instant::from_ns(now.tv_sec * 1'000'000'000 + now.tv_nsec);
}

Options disk_options(const StoreThreadOptions& options, stats::Counters& counters) {
  Options disk = options.disk;
  disk.chunk_bytes = options.store.chunk_bytes;
  disk.max_open_files = options.store.max_open_files;
  disk.requests_max = options.store.reads_in_flight + options.store.opens_in_flight;
  disk.counters = &counters;
  return disk;
}

}  // namespace

Result<std::unique_ptr<StoreThread>> StoreThread::create(const StoreThreadOptions& options) {
  auto counters = std::make_unique<stats::Counters>();
  auto disk = Disk::create(disk_options(options, *counters));
  if (!disk) return fail(disk.error());
  return std::unique_ptr<StoreThread>(
      new StoreThread(options, std::move(counters), std::move(*disk)));
}

StoreThread::StoreThread(const StoreThreadOptions& options,
                         std::unique_ptr<stats::Counters> counters, std::unique_ptr<Disk> disk)
    : clock_(options.clock != nullptr ? options.clock : monotonic_now),
      cpu_(options.cpu),
      counters_(std::move(counters)),
      disk_(std::move(disk)),
      store_(options.store, options.uses, *counters_) {
  for (uint32_t i = 0; i < options.store.workers; ++i) {
    mailboxes_.push_back(std::make_unique<Mailbox>(options.ring_capacity, *this));
  }
  store_.publish_gauges();
}

StoreThread::~StoreThread() {
  stop();
}

void StoreThread::start() {
  ASSERT(!thread_.joinable());
  stopping_.store(false, std::memory_order_relaxed);
  thread_ = std::thread([this] { run(); });
}

void StoreThread::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  disk_->wake();
  thread_.join();
}

void StoreThread::run() {
  pthread_setname_np(pthread_self(), "sluice-store");
  prctl(PR_SET_TIMERSLACK, 1'000UL, 0UL, 0UL, 0UL);
  if (cpu_ >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(cpu_), &set);
    // Refused (a CPU that we may not use): it runs wherever the kernel puts it.
    static_cast<void>(pthread_setaffinity_np(pthread_self(), sizeof set, &set));
  }
  while (!stopping_.load(std::memory_order_acquire)) {
    turn(clock_());
    if (has_mail() || disk_->has_completions()) {
      disk_->flush();
    } else {
      sleep();
    }
  }
  // What is being read goes into the arena: it must end before the arena does.
  for (uint32_t i = 0; i < 50 && store_.io_in_flight() > 0; ++i) {
    store::IoCompletion completion;
    while (disk_->poll_completion(completion)) store_.handle_completion(clock_(), completion);
    if (store_.io_in_flight() > 0) disk_->wait(100_ms);
  }
}

void StoreThread::turn(Instant now) {
  for (uint32_t i = 0; i < mailboxes_.size(); ++i) {
    content::ToStore message;
    for (uint32_t n = 0; n < messages_per_turn && store_.can_take(i); ++n) {
      if (!mailboxes_[i]->to_store_.pop(message)) break;
      store_.handle_message(now, i, message);
    }
  }
  store::IoCompletion completion;
  while (disk_->poll_completion(completion)) store_.handle_completion(now, completion);
  Change change;
  while (disk_->poll_change(change)) {
    if (change.anywhere) {
      store_.handle_change_anywhere(now);
    } else {
      store_.handle_change(now, change.path);
    }
  }
  if (store_.next_timeout() <= now) store_.handle_timeout(now);
  store::IoRequest request;
  while (store_.poll_io(now, request)) disk_->submit(request);
  mail_waits_ = false;
  for (uint32_t i = 0; i < mailboxes_.size(); ++i) deliver(i);
  store_.publish_gauges();
}

void StoreThread::deliver(uint32_t worker) {
  SpscRing<content::ToWorker>& ring = mailboxes_[worker]->to_worker_;
  content::ToWorker message;
  for (size_t room = ring.free_slots(); room > 0; --room) {
    if (!store_.poll_message(worker, message)) return;
    const bool pushed = ring.push(message);
    ASSERT(pushed);
  }
  mail_waits_ = true;
}

bool StoreThread::has_mail() const {
  for (uint32_t i = 0; i < mailboxes_.size(); ++i) {
    if (!mailboxes_[i]->to_store_.empty() && store_.can_take(i)) return true;
  }
  return false;
}

void StoreThread::sleep() {
  asleep_.store(true, std::memory_order_relaxed);
  // Pairs with the fence in Mailbox::ring_if_asleep().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (has_mail() || stopping_.load(std::memory_order_acquire)) {
    asleep_.store(false, std::memory_order_relaxed);
    disk_->flush();
    return;
  }
  Duration limit = mail_waits_ ? full_ring_retry : sleep_max;
  const Instant next = store_.next_timeout();
  if (!next.is_never()) limit = std::min(limit, std::max(next - clock_(), Duration()));
  counters_->add(Counter::store_wakeups);
  disk_->wait(limit);
  asleep_.store(false, std::memory_order_relaxed);
}

}  // namespace sluice::disk
