#include "rdma/verbs.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

namespace sluice::rdma {
namespace {

struct Library {
  void* handle = nullptr;
  std::string missing;

  template <typename Function>
  void find(const char* name, Function& out) {
    void* const found = handle != nullptr ? dlsym(handle, name) : nullptr;
    if (found == nullptr && missing.empty()) missing = name;
    out = reinterpret_cast<Function>(found);
  }
};

Result<void> check(const Library& library, const char* name, const char* package) {
  if (library.handle == nullptr) {
    return fail(fmt::format("{} is not installed (apt install {})", name, package));
  }
  if (!library.missing.empty()) {
    return fail(fmt::format("{} is too old: it has no {}", name, library.missing));
  }
  return {};
}

}  // namespace

Result<const Verbs*> Verbs::load() {
  static Verbs verbs;
  constexpr const char* verbs_name = "libibverbs.so.1";
  constexpr const char* cm_name = "librdmacm.so.1";
  Library core{dlopen(verbs_name, RTLD_NOW | RTLD_GLOBAL), {}};
  core.find("ibv_query_device", verbs.query_device);
  core.find("ibv_query_port", verbs.query_port);
  core.find("ibv_alloc_pd", verbs.alloc_pd);
  core.find("ibv_dealloc_pd", verbs.dealloc_pd);
  core.find("ibv_reg_mr", verbs.reg_mr);
  core.find("ibv_dereg_mr", verbs.dereg_mr);
  core.find("ibv_create_comp_channel", verbs.create_comp_channel);
  core.find("ibv_destroy_comp_channel", verbs.destroy_comp_channel);
  core.find("ibv_create_cq", verbs.create_cq);
  core.find("ibv_destroy_cq", verbs.destroy_cq);
  core.find("ibv_get_cq_event", verbs.get_cq_event);
  core.find("ibv_ack_cq_events", verbs.ack_cq_events);
  core.find("ibv_get_async_event", verbs.get_async_event);
  core.find("ibv_ack_async_event", verbs.ack_async_event);
  core.find("ibv_modify_qp", verbs.modify_qp);
  core.find("ibv_wc_status_str", verbs.wc_status_str);
  core.find("ibv_event_type_str", verbs.event_type_str);
  if (const auto good = check(core, verbs_name, "libibverbs1 ibverbs-providers"); !good) {
    return fail(good.error());
  }
  Library cm{dlopen(cm_name, RTLD_NOW | RTLD_GLOBAL), {}};
  cm.find("rdma_get_devices", verbs.get_devices);
  cm.find("rdma_free_devices", verbs.free_devices);
  cm.find("rdma_create_event_channel", verbs.create_event_channel);
  cm.find("rdma_destroy_event_channel", verbs.destroy_event_channel);
  cm.find("rdma_create_id", verbs.create_id);
  cm.find("rdma_destroy_id", verbs.destroy_id);
  cm.find("rdma_bind_addr", verbs.bind_addr);
  cm.find("rdma_resolve_addr", verbs.resolve_addr);
  cm.find("rdma_resolve_route", verbs.resolve_route);
  cm.find("rdma_create_qp", verbs.create_qp);
  cm.find("rdma_destroy_qp", verbs.destroy_qp);
  cm.find("rdma_connect", verbs.connect);
  cm.find("rdma_listen", verbs.listen);
  cm.find("rdma_accept", verbs.accept);
  cm.find("rdma_reject", verbs.reject);
  cm.find("rdma_disconnect", verbs.disconnect);
  cm.find("rdma_get_cm_event", verbs.get_cm_event);
  cm.find("rdma_ack_cm_event", verbs.ack_cm_event);
  cm.find("rdma_set_option", verbs.set_option);
  cm.find("rdma_get_src_port", verbs.get_src_port);
  if (const auto good = check(cm, cm_name, "librdmacm1"); !good) return fail(good.error());
  // librdmacm itself writes to standard error where this is missing.
  if (access("/dev/infiniband/rdma_cm", R_OK | W_OK) < 0) {
    return fail(
        "/dev/infiniband/rdma_cm cannot be used: no RDMA device, its modules are not loaded "
        "(modprobe rdma_ucm), or a container without that device");
  }
  return &verbs;
}

}  // namespace sluice::rdma
