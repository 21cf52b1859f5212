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
// Times that answers of the overlay may lead to questions within one turn.
constexpr uint32_t rounds_max = 16;
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
      store_(options.store, options.uses, *counters_),
      node_waker_(options.node_waker) {
  for (uint32_t i = 0; i < options.store.workers; ++i) {
    mailboxes_.push_back(std::make_unique<Mailbox>(options.ring_capacity, *this));
  }
  if (options.overlay) {
    ASSERT(options.node_waker != nullptr && options.store.last_holds);
    overlay_ = std::make_unique<replica::Overlay>(*options.overlay);
    overlay_mailbox_ = std::make_unique<OverlayMailbox>(options.overlay_ring_capacity, *this);
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
    if (more_waits_ || has_mail() || disk_->has_completions()) {
      disk_->flush();
    } else {
      sleep();
    }
  }
  // What is being read goes into the arena: it must end before the arena does.
  if (overlay_) overlay_->handle_node_gone();
  for (uint32_t i = 0; i < 50 && store_.io_in_flight() > 0; ++i) {
    static_cast<void>(complete(clock_()));
    if (store_.io_in_flight() > 0) disk_->wait(100_ms);
  }
}

void StoreThread::turn(Instant now) {
  take_messages(now);
  if (overlay_) take_overlay_messages(now);
  Change change;
  bool completed = complete(now);
  while (disk_->poll_change(change)) {
    if (change.anywhere) {
      store_.handle_change_anywhere(now);
    } else {
      store_.handle_change(now, change.path);
    }
  }
  if (store_.next_timeout() <= now) store_.handle_timeout(now);
  more_waits_ = ask_disk(now);
  // What the overlay answers itself leads to further questions.
  for (uint32_t round = 0; overlay_ && more_waits_ && round < rounds_max; ++round) {
    completed = complete(now);
    more_waits_ = ask_disk(now) || completed;
  }
  if (!overlay_) more_waits_ = false;
  mail_waits_ = false;
  bool for_node = false;
  for (uint32_t i = 0; i < mailboxes_.size(); ++i) for_node = deliver(i);
  if (overlay_) {
    deliver_from_overlay();
    if (for_node || overlay_mailbox_->has_mail()) node_waker_->ring_if_asleep();
  }
  store_.publish_gauges();
}

void StoreThread::take_messages(Instant now) {
  for (uint32_t i = 0; i < mailboxes_.size(); ++i) {
    const bool redirects = overlay_ != nullptr && i + 1 < mailboxes_.size();
    content::ToStore message;
    for (uint32_t n = 0; n < messages_per_turn && store_.can_take(i); ++n) {
      if (!mailboxes_[i]->to_store_.pop(message)) break;
      if (redirects) {
        auto* lookup = std::get_if<content::Lookup>(&message);
        if (lookup != nullptr) lookup->path = overlay_->redirect(lookup->path);
      }
      store_.handle_message(now, i, message);
    }
  }
}

void StoreThread::take_overlay_messages(Instant now) {
  replica::ToOverlay message;
  for (uint32_t n = 0; n < messages_per_turn; ++n) {
    if (!overlay_mailbox_->to_overlay_.pop(message)) break;
    if (const auto* ask = std::get_if<replica::AskReaders>(&message)) {
      const replica::InternalName name = replica::internal_name(ask->generation);
      overlay_->tell_readers({ask->generation, store_.is_read(name.view())});
      continue;
    }
    const std::string_view changed = overlay_->handle(now, message);
    if (!changed.empty()) store_.handle_change(now, changed);
  }
}

// Returns whether there was anything.
bool StoreThread::complete(Instant now) {
  bool any = false;
  store::IoCompletion completion;
  while (disk_->poll_completion(completion)) {
    any = true;
    if (overlay_ && !overlay_->handle_disk(now, completion)) continue;
    store_.handle_completion(now, completion);
  }
  while (overlay_ && overlay_->poll_completion(completion)) {
    any = true;
    store_.handle_completion(now, completion);
  }
  return any;
}

// Returns whether there was anything. What the overlay asks comes first: a file number that it
// closes may be given out again.
bool StoreThread::ask_disk(Instant now) {
  bool any = false;
  store::IoRequest request;
  while (overlay_ && overlay_->poll_disk(request)) {
    any = true;
    disk_->submit(request);
  }
  while (store_.poll_io(now, request)) {
    any = true;
    if (overlay_ && !overlay_->handle_request(now, request)) continue;
    disk_->submit(request);
  }
  return any;
}

// Returns whether there was anything.
bool StoreThread::deliver(uint32_t worker) {
  SpscRing<content::ToWorker>& ring = mailboxes_[worker]->to_worker_;
  content::ToWorker message;
  bool any = false;
  for (size_t room = ring.free_slots(); room > 0; --room) {
    if (!store_.poll_message(worker, message)) return any;
    const bool pushed = ring.push(message);
    ASSERT(pushed);
    any = true;
  }
  mail_waits_ = true;
  return any;
}

void StoreThread::deliver_from_overlay() {
  SpscRing<replica::FromOverlay>& ring = overlay_mailbox_->from_overlay_;
  replica::FromOverlay message;
  for (size_t room = ring.free_slots(); room > 0; --room) {
    if (!overlay_->poll_message(message)) return;
    const bool pushed = ring.push(message);
    ASSERT(pushed);
  }
  mail_waits_ = true;
}

bool StoreThread::has_mail() const {
  for (uint32_t i = 0; i < mailboxes_.size(); ++i) {
    if (!mailboxes_[i]->to_store_.empty() && store_.can_take(i)) return true;
  }
  return overlay_mailbox_ && !overlay_mailbox_->to_overlay_.empty();
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
