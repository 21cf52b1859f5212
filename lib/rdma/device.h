// Device: one RDMA device as librdmacm opened it, and what is registered with it once: the whole
// arena, for local use alone. Peers get rights over single extents, for as long as a grant lives:
//
//   windows   memory windows of type 2B, bound to the queue pair the peer writes to: neither
//   another
//             peer nor another connection can use the key, and binding costs no registration
//   regions   a memory region for each grant, where the device has no such windows, or does not
//   keep
//             to their bounds. Any peer that guesses the 32-bit key could use it while it lives.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "mover/mover.h"
#include "rdma/verbs.h"

namespace sluice::rdma {

/// The provider that does not look at a window's bounds: Linux,
/// drivers/infiniband/sw/rxe/rxe_resp.c, check_rkey() asks the memory region behind the window
/// (seen in 6.1 to 6.12; tried in dts/rdma).
[[nodiscard]] bool windows_are_unbounded(const std::string& device_name, const std::string& driver);
/// The kernel driver of a device: "mlx5_core", "rdma_rxe", ...; empty: not known.
[[nodiscard]] std::string driver_of(const std::string& device_name,
                                    const std::filesystem::path& sys = "/sys");

/// Closes what the kernel waits for before it can remove a device that it cannot take from
/// programs: the context's descriptors. librdmacm, whose context it is, keeps their numbers and
/// closes them in time: until then they are something else that is open. Requires: nothing of the
/// device is left, and nothing will be made on it.
void let_go(ibv_context& context);

class Device {
 public:
  /// Errors: memory cannot be registered (with the likely cure), or the device is out of something.
  [[nodiscard]] static Result<std::unique_ptr<Device>> open(const Verbs& verbs,
                                                            ibv_context* context,
                                                            const mover::Options& options);
  /// Where it is gone, the kernel can end its removal after this.
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] const Verbs& verbs() const { return verbs_; }
  [[nodiscard]] ibv_context* context() const { return context_; }
  [[nodiscard]] ibv_pd* domain() const { return domain_; }
  [[nodiscard]] ibv_comp_channel* completions() const { return completions_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  /// "uverbs0"
  [[nodiscard]] const char* offered_name() const { return context_->device->dev_name; }
  /// The region that this address lies in.
  [[nodiscard]] ibv_mr* region_of(const std::byte* address) const;
  [[nodiscard]] bool uses_windows() const { return uses_windows_; }
  /// A bind failed: from now on, regions.
  void give_up_windows() { uses_windows_ = false; }
  /// It was removed, or is being removed.
  void set_gone() { is_gone_ = true; }
  [[nodiscard]] uint32_t requests_max() const { return requests_max_; }
  [[nodiscard]] uint32_t message_bytes_max() const { return message_bytes_max_; }
  [[nodiscard]] std::string description() const;

 private:
  Device(const Verbs& verbs, ibv_context* context) : verbs_(verbs), context_(context) {}
  [[nodiscard]] Result<void> set_up(const mover::Options& options);
  [[nodiscard]] Result<void> register_arena(const mover::Options& options, uint64_t mr_bytes_max);

  const Verbs& verbs_;
  ibv_context* context_;
  std::string name_;
  ibv_pd* domain_ = nullptr;
  ibv_comp_channel* completions_ = nullptr;
  std::byte* base_ = nullptr;
  uint64_t bytes_per_region_ = 0;
  std::vector<ibv_mr*> regions_;
  bool uses_windows_ = false;
  bool distrusts_windows_ = false;
  bool has_windows_ = false;
  bool is_software_ = false;
  bool is_gone_ = false;
  uint32_t requests_max_ = 0;
  uint32_t message_bytes_max_ = 0;
};

}  // namespace sluice::rdma
