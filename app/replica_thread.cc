#include "replica_thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>

#include <algorithm>
#include <ctime>
#include <utility>
#include <variant>

#include "base/assert.h"
#include "clock.h"

namespace sluice::app {
namespace {

using replica::LinkEvent;
using replica::Post;
using replica::PublishState;
using replica::PublishStatus;
using replica::Transport;
using stats::Counter;

// Bounds of one turn, so that no part starves another.
constexpr uint32_t messages_per_turn = 256;
constexpr uint32_t posts_per_turn = 1'024;
// It looks on for this long after work: the next completion comes sooner than a wake-up.
constexpr Duration spin = 50_us;
constexpr Duration sleep_max = 1_s;
// A ring of the store is full: it makes room without telling.
constexpr Duration full_ring_retry = 200_us;
// The throttle is told of the clients' traffic so often.
constexpr Duration load_interval = 10_ms;
constexpr Duration tick_interval = 100_ms;
// --copies: files that are being published at a time, and when one that failed is tried again.
constexpr size_t publishing_max = 8;
constexpr Duration publish_again = 5_s;
constexpr size_t notes_max = 256;
// The helper: how often it writes the log, and looks at the root.
constexpr Duration helper_interval = 100_ms;
constexpr Duration scan_interval = 2_s;
// A root that takes long to walk is walked less often: at most this share of a core.
constexpr int64_t scan_share = 20;

void pause(Duration time) {
  const timespec step{.tv_sec = time.ns() / 1'000'000'000, .tv_nsec = time.ns() % 1'000'000'000};
  nanosleep(&step, nullptr);
}

Transport transport_of(const Post& post) {
  if (const auto* dial = std::get_if<replica::Dial>(&post)) return dial->transport;
  return std::visit(
      [](const auto& each) {
        if constexpr (requires { each.link; }) {
          return each.link.transport;
        } else {
          return Transport::tcp;
        }
      },
      post);
}

}  // namespace

ReplicaThread::ReplicaThread(ReplicaThreadOptions&& options)
    : options_(std::move(options)),
      node_(std::make_unique<replica::Node>(options_.node, options_.arena, *options_.pins,
                                            *options_.counters)) {
  files_.push_back({.fd = options_.waker->fd(), .events = POLLIN, .revents = 0});
  for (const auto& mover : options_.movers) {
    if (!mover) continue;
    files_.push_back({.fd = mover->ready_fd(), .events = POLLIN, .revents = 0});
    description_ += (description_.empty() ? "" : "; ") + mover->description();
  }
  if (options_.registry) {
    files_.push_back({.fd = options_.registry->wake_fd(), .events = POLLIN, .revents = 0});
    description_ += "; " + options_.registry->description();
  }
  if (options_.copies > 0) scan_.emplace(options_.root, options_.files_max);
}

ReplicaThread::~ReplicaThread() {
  stop();
}

void ReplicaThread::start() {
  ASSERT(!thread_.joinable());
  stopping_.store(false, std::memory_order_relaxed);
  thread_ = std::thread([this] { run(); });
  helper_ = std::thread([this] { help(); });
}

void ReplicaThread::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  options_.waker->ring_if_asleep();
  thread_.join();
  helper_.join();
  // Their destructors wait until nothing writes into the arena any more.
  for (auto& mover : options_.movers) mover.reset();
  options_.registry.reset();
}

// The loop ----------------------------------------------------------------------------------------

void ReplicaThread::run() {
  pthread_setname_np(pthread_self(), "sluice-replica");
  prctl(PR_SET_TIMERSLACK, 1'000UL, 0UL, 0UL, 0UL);
  last_work_ = load_due_ = tick_due_ = clock_now();
  Instant last = last_work_;
  while (!stopping_.load(std::memory_order_acquire)) {
    const Instant now = std::max(clock_now(), last);
    last = now;
    if (turn(now)) {
      last_work_ = now;
    } else if (now - last_work_ >= spin) {
      sleep(now);
    }
  }
}

bool ReplicaThread::turn(Instant now) {
  bool worked = take_input(now);
  if (slot_.load(std::memory_order_acquire) == Slot::asked) {
    answer(now);
    worked = true;
  }
  if (now >= load_due_) {
    load_due_ = now + load_interval;
    node_->handle_load(now, options_.client_tx_bytes());
  }
  if (now >= tick_due_) tick(now);
  if (node_->next_timeout() <= now) node_->handle_timeout(now);
  worked |= give_output(now);
  return worked;
}

bool ReplicaThread::take_input(Instant now) {
  bool any = false;
  content::ToWorker message;
  for (uint32_t n = 0; n < messages_per_turn && options_.mailbox->receive(message); ++n) {
    node_->handle(now, message);
    any = true;
  }
  replica::FromOverlay wanted;
  for (uint32_t n = 0; n < messages_per_turn && options_.overlay->receive(wanted); ++n) {
    node_->handle(now, wanted);
    any = true;
  }
  LinkEvent event;
  for (const auto& mover : options_.movers) {
    for (uint32_t n = 0; mover && n < messages_per_turn && mover->poll(event); ++n) {
      node_->handle(now, event);
      any = true;
    }
  }
  for (const LinkEvent& each : std::exchange(made_up_, {})) node_->handle(now, each);
  replica::RegistryEvent seen;
  for (uint32_t n = 0; options_.registry && n < messages_per_turn && options_.registry->poll(seen);
       ++n) {
    node_->handle(now, seen);
    any = true;
  }
  return any;
}

// Returns whether there was anything to give.
bool ReplicaThread::give_output(Instant now) {
  bool any = false;
  Post post;
  for (uint32_t n = 0; n < posts_per_turn && node_->poll_post(now, post); ++n) {
    submit(now, post);
    any = true;
  }
  for (uint32_t n = 0; n < messages_per_turn; ++n) {
    content::ToStore message;
    if (held_message_) {
      message = *std::exchange(held_message_, std::nullopt);
    } else if (!node_->poll_message(message)) {
      break;
    }
    if (!options_.mailbox->send(message)) {
      held_message_ = message;
      break;
    }
    any = true;
  }
  options_.mailbox->ring_if_asleep();
  for (uint32_t n = 0; n < messages_per_turn; ++n) {
    replica::ToOverlay message;
    if (held_overlay_) {
      message = *std::exchange(held_overlay_, std::nullopt);
    } else if (!node_->poll_overlay(message)) {
      break;
    }
    if (!options_.overlay->send(message)) {
      held_overlay_ = message;
      break;
    }
    any = true;
  }
  options_.overlay->ring_if_asleep();
  replica::RegistryRequest request;
  for (uint32_t n = 0; options_.registry && n < messages_per_turn && node_->poll_registry(request);
       ++n) {
    options_.registry->submit(std::move(request));
    any = true;
  }
  return any;
}

void ReplicaThread::submit(Instant, const Post& post) {
  const Transport transport = transport_of(post);
  mover::Mover* mover = options_.movers[static_cast<size_t>(transport)].get();
  if (mover != nullptr) {
    mover->submit(post);
    return;
  }
  if (const auto* dial = std::get_if<replica::Dial>(&post)) {
    made_up_.push_back(replica::DialFailed{
        .dial = dial->dial, .transport = transport, .why = "this node has no such transport"});
  }
}

bool ReplicaThread::is_ready_to_sleep() {
  if (options_.mailbox->has_mail() || options_.overlay->has_mail() || !made_up_.empty()) {
    return false;
  }
  if (slot_.load(std::memory_order_acquire) == Slot::asked) return false;
  if (stopping_.load(std::memory_order_acquire)) return false;
  for (const auto& mover : options_.movers) {
    if (mover && !mover->prepare_to_sleep()) return false;
  }
  return true;
}

void ReplicaThread::sleep(Instant now) {
  options_.waker->announce();
  if (!is_ready_to_sleep()) {
    options_.waker->stay_awake();
    return;
  }
  Instant until = std::min(now + sleep_max, node_->next_timeout());
  if (held_message_ || held_overlay_) until = std::min(until, now + full_ring_retry);
  // Files to be published, and lines for the log, are moved on by the tick.
  if (!publishing_.empty() || !to_publish_.empty() || !retries_.empty() || has_found_.load() ||
      !notes_waiting_.empty()) {
    until = std::min(until, tick_due_);
  }
  const Duration limit = std::max(until - clock_now(), Duration());
  const timespec time{.tv_sec = limit.ns() / 1'000'000'000, .tv_nsec = limit.ns() % 1'000'000'000};
  ppoll(files_.data(), files_.size(), &time, nullptr);
  options_.waker->stay_awake();
}

void ReplicaThread::tick(Instant now) {
  tick_due_ = now + tick_interval;
  mover::Counts sum;
  std::string line;
  for (const auto& mover : options_.movers) {
    if (!mover) continue;
    const mover::Counts& counts = mover->counts();
    sum.bytes_copied += counts.bytes_copied;
    sum.bytes_placed += counts.bytes_placed;
    sum.bytes_taken += counts.bytes_taken;
    sum.devices += counts.devices;
    while (mover->poll_note(line)) note(std::move(line));
  }
  stats::Counters& counters = *options_.counters;
  counters.add(Counter::replica_copied_bytes, sum.bytes_copied - seen_.bytes_copied);
  counters.add(Counter::replica_placed_bytes, sum.bytes_placed - seen_.bytes_placed);
  counters.add(Counter::replica_taken_bytes, sum.bytes_taken - seen_.bytes_taken);
  counters.set(Counter::replica_rdma_devices, sum.devices);
  seen_ = sum;
  publish_root(now);
  drain_notes();
}

// Questions ---------------------------------------------------------------------------------------

void ReplicaThread::answer(Instant now) {
  using What = ReplicaAsk::What;
  answer_ = {};
  switch (question_.what) {
    case What::publish:
      answer_.status = node_->status(
          node_->publish(now, wall_clock_now().unix_ns, question_.path, question_.copies));
      break;
    case What::unpublish:
      answer_.status = node_->status(node_->unpublish(now, question_.path));
      break;
    case What::status:
      answer_.status = node_->status(question_.ticket);
      break;
    case What::replicas:
      answer_.replicas = node_->replicas();
      break;
    case What::peers:
      answer_.peers = node_->peers();
      break;
    case What::transfers:
      answer_.transfers = node_->transfers();
      break;
  }
  slot_.store(Slot::ready, std::memory_order_release);
}

bool ReplicaThread::ask(const ReplicaAsk& question, Duration patience, ReplicaAnswer& out) {
  const std::lock_guard lock(askers_);
  if (slot_.load(std::memory_order_acquire) == Slot::asked) return false;
  question_ = question;
  slot_.store(Slot::asked, std::memory_order_release);
  options_.waker->ring_if_asleep();
  constexpr Duration step = 200_us;
  for (Duration waited; waited < patience; waited = waited + step) {
    if (slot_.load(std::memory_order_acquire) == Slot::ready) {
      out = std::move(answer_);
      slot_.store(Slot::idle, std::memory_order_relaxed);
      return true;
    }
    pause(step);
  }
  return false;
}

// --copies ----------------------------------------------------------------------------------------

void ReplicaThread::publish_root(Instant now) {
  if (options_.copies == 0) return;
  if (has_found_.load(std::memory_order_acquire)) {
    const std::unique_lock lock(helper_mutex_, std::try_to_lock);
    if (lock.owns_lock()) {
      for (RootScan::Change& each : found_) to_publish_.push_back(std::move(each));
      found_.clear();
      has_found_.store(false, std::memory_order_relaxed);
    }
  }
  for (auto retry = retries_.begin(); retry != retries_.end();) {
    if (retry->at > now) {
      ++retry;
      continue;
    }
    to_publish_.push_back({std::move(retry->path), false});
    retry = retries_.erase(retry);
  }
  std::erase_if(publishing_, [&](Publishing& each) {
    const PublishStatus status = node_->status(each.ticket);
    if (status.state == PublishState::failed) {
      note(fmt::format("publish {}: {}; tried again in {} s", each.path, status.detail,
                       publish_again.ms() / 1'000));
      retries_.push_back({now + publish_again, std::move(each.path)});
      return true;
    }
    return status.state == PublishState::published || status.state == PublishState::degraded;
  });
  while (!to_publish_.empty() && publishing_.size() < publishing_max) {
    RootScan::Change next = std::move(to_publish_.front());
    to_publish_.pop_front();
    if (next.gone) {
      std::erase_if(retries_, [&](const Retry& each) { return each.path == next.path; });
      static_cast<void>(node_->unpublish(now, next.path));
      continue;
    }
    const uint32_t ticket =
        node_->publish(now, wall_clock_now().unix_ns, next.path, options_.copies);
    publishing_.push_back({ticket, std::move(next.path)});
  }
}

// The helper --------------------------------------------------------------------------------------

void ReplicaThread::note(std::string&& line) {
  if (notes_waiting_.size() < notes_max) notes_waiting_.push_back(std::move(line));
}

void ReplicaThread::drain_notes() {
  if (notes_waiting_.empty()) return;
  const std::unique_lock lock(helper_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  while (!notes_waiting_.empty() && notes_.size() < notes_max) {
    notes_.push_back(std::move(notes_waiting_.front()));
    notes_waiting_.pop_front();
  }
}

void ReplicaThread::help() {
  pthread_setname_np(pthread_self(), "sluice-helper");
  Instant scan_at = clock_now();
  bool was_full = false;
  while (!stopping_.load(std::memory_order_acquire)) {
    if (scan_ && clock_now() >= scan_at) {
      const Instant before = clock_now();
      std::vector<RootScan::Change> changes = scan_->look(wall_clock_now().unix_ns);
      if (scan_->is_full() && !was_full) {
        spdlog::warn("--copies: {} has more than {} files; those beyond are not replicated",
                     options_.root, options_.files_max);
      }
      was_full = scan_->is_full();
      const Instant after = clock_now();
      scan_at = after + std::max(scan_interval, (after - before) * scan_share);
      if (!changes.empty()) {
        const std::lock_guard lock(helper_mutex_);
        for (RootScan::Change& each : changes) found_.push_back(std::move(each));
        has_found_.store(true, std::memory_order_release);
        options_.waker->ring_if_asleep();
      }
    }
    std::deque<std::string> lines;
    {
      const std::lock_guard lock(helper_mutex_);
      lines.swap(notes_);
    }
    for (const std::string& line : lines) spdlog::warn("replica: {}", line);
    pause(helper_interval);
  }
}

}  // namespace sluice::app
