#include "rdma/device_watch.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "mover/clock.h"

namespace sluice::rdma {
namespace {

constexpr std::chrono::seconds look_every{1};
// A device that cannot be used: the cause may be cured (memlock), but is not looked for all the
// time.
constexpr Duration try_again = 10_s;
constexpr size_t notes_max = 16;

}  // namespace

std::vector<OfferedDevice> offered_devices(const std::filesystem::path& sys) {
  std::vector<OfferedDevice> out;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(sys / "class/infiniband_verbs", error)) {
    const std::string name = entry.path().filename().string();
    struct stat facts {};
    // "abi_version" lies beside the devices.
    if (!name.starts_with("uverbs") || stat(entry.path().c_str(), &facts) != 0) continue;
    out.push_back({name, facts.st_ino});
  }
  std::sort(out.begin(), out.end());
  return out;
}

DeviceWatch::DeviceWatch(const mover::Options& options)
    : options_(options), ready_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

DeviceWatch::~DeviceWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void DeviceWatch::start() {
  thread_ = std::thread([this] { run(); });
}

void DeviceWatch::run() {
  pthread_setname_np(pthread_self(), "sluice-rdma");
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, look_every, [this] { return stopping_; })) {
    lock.unlock();
    look();
    lock.lock();
  }
}

void DeviceWatch::look() {
  const std::vector<OfferedDevice> offered = offered_devices();
  if (forget_gone(offered)) return;
  const Instant now = mover::now();
  const bool is_due = std::any_of(offered.begin(), offered.end(), [&](const OfferedDevice& each) {
    const auto known = std::find_if(known_.begin(), known_.end(),
                                    [&](const Known& one) { return one.offered == each; });
    return known == known_.end() || (!known->is_used && known->retry_at <= now);
  });
  if (offered.empty()) {
    // At first: what is missing may be more than a device.
    const bool is_first = why_none().empty();
    const Result<const Verbs*> loaded = is_first ? Verbs::load() : Result<const Verbs*>(nullptr);
    set_why(loaded ? "there is no RDMA device (rdma link)" : loaded.error().message);
  }
  if (is_due) open_new(offered);
}

// Returns true while the mover has not let go of all that went.
bool DeviceWatch::forget_gone(const std::vector<OfferedDevice>& offered) {
  for (auto known = known_.begin(); known != known_.end();) {
    if (std::find(offered.begin(), offered.end(), known->offered) != offered.end()) {
      ++known;
      continue;
    }
    if (known->is_used) {
      Change change;
      change.gone = known->offered.name;
      push(std::move(change));
    } else {
      let_go(*known->context);
    }
    known = known_.erase(known);
  }
  const std::lock_guard lock(mutex_);
  return unconfirmed_ > 0;
}

void DeviceWatch::open_new(const std::vector<OfferedDevice>& offered) {
  if (verbs_ == nullptr) {
    const Result<const Verbs*> loaded = Verbs::load();
    if (!loaded) return set_why(loaded.error().message);
    verbs_ = *loaded;
  }
  int count = 0;
  ibv_context** const list = verbs_->get_devices(&count);
  const Instant now = mover::now();
  for (int i = 0; list != nullptr && i < count; ++i) {
    for (const OfferedDevice& each : offered) {
      if (each.name == list[i]->device->dev_name) take(list[i], each, now);
    }
  }
  if (list == nullptr) return set_why("librdmacm opens no RDMA device");
  verbs_->free_devices(list);
}

void DeviceWatch::take(ibv_context* context, const OfferedDevice& offered, Instant now) {
  auto known = std::find_if(known_.begin(), known_.end(),
                            [&](const Known& one) { return one.offered == offered; });
  if (known != known_.end() && (known->is_used || known->retry_at > now)) return;
  if (known == known_.end()) known = known_.insert(known, Known{offered, nullptr, false, {}});
  known->context = context;
  known->retry_at = now + try_again;
  const std::string name = context->device->name;
  if (!options_.device.empty() && name != options_.device) {
    known->retry_at = Instant::never();
    return set_why(fmt::format("there is no RDMA device {}; there is {}", options_.device, name));
  }
  Result<std::unique_ptr<Device>> made = Device::open(*verbs_, context, options_);
  if (!made) return set_why(made.error().message);
  known->is_used = true;
  Change change;
  change.came = *std::move(made);
  push(std::move(change));
}

void DeviceWatch::push(Change&& change) {
  const std::lock_guard lock(mutex_);
  unconfirmed_ += change.gone.empty() ? 0u : 1u;
  changes_.push_back(std::move(change));
  const uint64_t one = 1;
  static_cast<void>(!write(ready_.get(), &one, sizeof one));
}

void DeviceWatch::set_why(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (why == why_) return;
  why_ = why;
  if (notes_.size() < notes_max) notes_.push_back("replication, RDMA: " + why);
}

bool DeviceWatch::poll(Change& out) {
  const std::lock_guard lock(mutex_);
  if (changes_.empty()) {
    uint64_t count = 0;
    static_cast<void>(!read(ready_.get(), &count, sizeof count));
    return false;
  }
  out = std::move(changes_.front());
  changes_.pop_front();
  return true;
}

void DeviceWatch::confirm_gone() {
  const std::lock_guard lock(mutex_);
  --unconfirmed_;
}

std::string DeviceWatch::why_none() {
  const std::lock_guard lock(mutex_);
  return why_;
}

bool DeviceWatch::poll_note(std::string& out) {
  const std::lock_guard lock(mutex_);
  if (notes_.empty()) return false;
  out = std::move(notes_.front());
  notes_.pop_front();
  return true;
}

}  // namespace sluice::rdma
