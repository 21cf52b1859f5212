// Verbs: libibverbs and librdmacm, opened at run time, as a table of their functions. Those verbs
// that are inline in the headers (ibv_post_send, ibv_poll_cq, ...) go through the context's own
// table and need none of this.
//
// Read first: rdma_cm(7), ibv_post_send(3).
#pragma once

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "base/result.h"

// Macros of the header that would replace the names below.
#undef ibv_reg_mr
#undef ibv_query_port
#undef ibv_get_device_list

namespace sluice::rdma {

struct Verbs {
  decltype(&::ibv_query_device) query_device;
  decltype(&::ibv_query_port) query_port;
  decltype(&::ibv_alloc_pd) alloc_pd;
  decltype(&::ibv_dealloc_pd) dealloc_pd;
  decltype(&::ibv_reg_mr) reg_mr;
  decltype(&::ibv_dereg_mr) dereg_mr;
  decltype(&::ibv_create_comp_channel) create_comp_channel;
  decltype(&::ibv_destroy_comp_channel) destroy_comp_channel;
  decltype(&::ibv_create_cq) create_cq;
  decltype(&::ibv_destroy_cq) destroy_cq;
  decltype(&::ibv_get_cq_event) get_cq_event;
  decltype(&::ibv_ack_cq_events) ack_cq_events;
  decltype(&::ibv_get_async_event) get_async_event;
  decltype(&::ibv_ack_async_event) ack_async_event;
  decltype(&::ibv_modify_qp) modify_qp;
  decltype(&::ibv_wc_status_str) wc_status_str;
  decltype(&::ibv_event_type_str) event_type_str;

  decltype(&::rdma_get_devices) get_devices;
  decltype(&::rdma_free_devices) free_devices;
  decltype(&::rdma_create_event_channel) create_event_channel;
  decltype(&::rdma_destroy_event_channel) destroy_event_channel;
  decltype(&::rdma_create_id) create_id;
  decltype(&::rdma_destroy_id) destroy_id;
  decltype(&::rdma_bind_addr) bind_addr;
  decltype(&::rdma_resolve_addr) resolve_addr;
  decltype(&::rdma_resolve_route) resolve_route;
  decltype(&::rdma_create_qp) create_qp;
  decltype(&::rdma_destroy_qp) destroy_qp;
  decltype(&::rdma_connect) connect;
  decltype(&::rdma_listen) listen;
  decltype(&::rdma_accept) accept;
  decltype(&::rdma_reject) reject;
  decltype(&::rdma_disconnect) disconnect;
  decltype(&::rdma_get_cm_event) get_cm_event;
  decltype(&::rdma_ack_cm_event) ack_cm_event;
  decltype(&::rdma_set_option) set_option;
  decltype(&::rdma_get_src_port) get_src_port;

  /// The libraries stay open until the process ends: providers keep threads and handlers.
  /// Errors: a library, or a function of it, is missing; the kernel's modules are not loaded; each
  /// with its cure.
  [[nodiscard]] static Result<const Verbs*> load();
};

}  // namespace sluice::rdma
