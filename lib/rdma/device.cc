#include "rdma/device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sluice::rdma {
namespace {

// rxe takes 8 MiB as its largest message; beyond 4 MiB nothing is gained anywhere.
constexpr uint32_t message_bytes_most = 4u << 20;

std::string why_not_registered(int error, uint64_t bytes) {
  const uint64_t mib = bytes >> 20;
  switch (error) {
    case ENOMEM:
      return fmt::format(
          "cannot pin {} MiB: raise the limit of locked memory (ulimit -l unlimited, "
          "LimitMEMLOCK=infinity in the unit, --ulimit memlock=-1 of a container)",
          mib);
    case EPERM:
    case EACCES:
      return fmt::format("may not pin {} MiB: the process needs CAP_IPC_LOCK or a higher memlock",
                         mib);
    default:
      return fmt::format("cannot register {} MiB: {}", mib, std::strerror(error));
  }
}

Result<void> make_nonblocking(int descriptor) {
  const int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) {
    return fail(std::strerror(errno));
  }
  return {};
}

}  // namespace

std::string driver_of(const std::string& device_name, const std::filesystem::path& sys) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder = sys / "class/infiniband" / device_name;
  // A software device stands on an interface, which its "parent" names; that is all it says.
  if (fs::exists(folder / "parent", error)) {
    return device_name.starts_with("siw") ? "siw" : "rdma_rxe";
  }
  const fs::path driver = fs::read_symlink(folder / "device/driver", error);
  return error ? std::string() : driver.filename().string();
}

bool windows_are_unbounded(const std::string& device_name, const std::string& driver) {
  return driver == "rdma_rxe" || device_name.starts_with("rxe");
}

void let_go(ibv_context& context) {
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nothing < 0) return;  // no descriptor is left: the removal waits until this process ends
  dup3(nothing, context.async_fd, O_CLOEXEC);
  dup3(nothing, context.cmd_fd, O_CLOEXEC);
  close(nothing);
}

Result<std::unique_ptr<Device>> Device::open(const Verbs& verbs, ibv_context* context,
                                             const mover::Options& options) {
  std::unique_ptr<Device> made(new Device(verbs, context));
  made->name_ = context->device->name;
  if (const Result<void> ready = made->set_up(options); !ready) {
    return fail(ready.error().in("RDMA device " + made->name_));
  }
  return made;
}

Result<void> Device::set_up(const mover::Options& options) {
  ibv_device_attr attributes{};
  if (const int error = verbs_.query_device(context_, &attributes); error != 0) {
    return fail(fmt::format("cannot be asked: {}", std::strerror(error)));
  }
  const std::string driver = driver_of(name_);
  is_software_ = driver == "rdma_rxe" || driver == "siw";
  has_windows_ = (attributes.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B) != 0 &&
                 context_->ops.alloc_mw != nullptr;
  distrusts_windows_ = windows_are_unbounded(name_, driver) && !options.trust_memory_windows;
  uses_windows_ = has_windows_ && options.use_memory_windows && !distrusts_windows_;
  requests_max_ = static_cast<uint32_t>(attributes.max_qp_wr);
  ibv_port_attr port{};
  message_bytes_max_ = message_bytes_most;
  if (verbs_.query_port(context_, 1, reinterpret_cast<_compat_ibv_port_attr*>(&port)) == 0 &&
      port.max_msg_sz != 0) {
    message_bytes_max_ = std::min(message_bytes_max_, port.max_msg_sz);
  }
  domain_ = verbs_.alloc_pd(context_);
  completions_ = verbs_.create_comp_channel(context_);
  if (domain_ == nullptr || completions_ == nullptr) {
    return fail(fmt::format("gives no protection domain: {}", std::strerror(errno)));
  }
  if (auto set = make_nonblocking(completions_->fd); !set) return set;
  if (auto set = make_nonblocking(context_->async_fd); !set) return set;
  return register_arena(options, attributes.max_mr_size);
}

Result<void> Device::register_arena(const mover::Options& options, uint64_t mr_bytes_max) {
  base_ = options.region.data();
  const uint64_t page = std::max<uint64_t>(options.page_bytes, 4096);
  const uint64_t bytes = (options.region.size() + page - 1) / page * page;
  // A source lies in one region: cut where chunks end.
  const uint64_t chunk = std::max<uint64_t>(options.arena.chunk_bytes, page);
  bytes_per_region_ = bytes;
  if (mr_bytes_max != 0 && mr_bytes_max < bytes) bytes_per_region_ = mr_bytes_max / chunk * chunk;
  if (bytes_per_region_ == 0) {
    return fail(
        fmt::format("registers at most {} bytes at a time: less than a chunk", mr_bytes_max));
  }
  const int access = IBV_ACCESS_LOCAL_WRITE | (uses_windows_ ? IBV_ACCESS_MW_BIND : 0);
  for (uint64_t at = 0; at < bytes; at += bytes_per_region_) {
    const uint64_t length = std::min(bytes_per_region_, bytes - at);
    ibv_mr* const region = verbs_.reg_mr(domain_, base_ + at, length, access);
    if (region == nullptr) return fail(why_not_registered(errno, length));
    regions_.push_back(region);
    if (region->length != length) return fail("registered less than was asked for");
  }
  return {};
}

Device::~Device() {
  for (ibv_mr* const region : regions_) verbs_.dereg_mr(region);
  if (completions_ != nullptr) verbs_.destroy_comp_channel(completions_);
  if (domain_ != nullptr) verbs_.dealloc_pd(domain_);
  if (is_gone_) let_go(*context_);
}

ibv_mr* Device::region_of(const std::byte* address) const {
  const auto offset = static_cast<uint64_t>(address - base_);
  return regions_[offset / bytes_per_region_];
}

std::string Device::description() const {
  const char* why = uses_windows_        ? ""
                    : !has_windows_      ? " (it has no memory windows of type 2B)"
                    : distrusts_windows_ ? " (its memory windows do not keep to their bounds)"
                                         : "";
  return fmt::format(
      "{}{}: {}{}", name_, is_software_ ? " (software, slow)" : "",
      uses_windows_ ? "a memory window for each grant" : "a memory region for each grant", why);
}

}  // namespace sluice::rdma
