// RdmaMover: where a peer may write, for as long as a grant lives: rdma/device.h says by what.

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "rdma/rdma_mover.h"

namespace sluice::rdma {

using replica::LinkEnd;

void RdmaMover::handle(const replica::Grant& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  ASSERT(post.grant < replica::grants_max);
  GrantSlot& grant = link->grants[post.grant];
  ASSERT(grant.state == GrantSlot::State::free);
  uint32_t lane = 0;
  for (uint32_t i = 1; i < link->lanes; ++i) {
    if (link->grants_on[i] < link->grants_on[lane]) lane = i;
  }
  grant.lane = static_cast<uint8_t>(lane);
  grant.extent = post.extent;
  const MutableBytes memory = options_.arena.bytes(post.extent);
  if (link->device->uses_windows()) {
    grant_by_window(*link, post.link.slot, post.grant, memory);
  } else {
    grant_by_region(*link, post.link.slot, post.grant, memory);
  }
}

void RdmaMover::begin_grant(Link& link, GrantSlot& grant, GrantSlot::State state) {
  const auto own = reinterpret_cast<uint64_t>(options_.arena.bytes(grant.extent).data());
  grant.is_elsewhere = grant.window.address != own;
  link.grants_elsewhere += grant.is_elsewhere ? 1u : 0u;
  grant.state = state;
  ++link.grants_on[grant.lane];
  ++counts_.grants;
}

void RdmaMover::end_grant(Link& link, GrantSlot& grant) {
  link.grants_elsewhere -= grant.is_elsewhere ? 1u : 0u;
  grant.state = GrantSlot::State::free;
  --link.grants_on[grant.lane];
  --counts_.grants;
}

void RdmaMover::grant_by_window(Link& link, uint32_t slot, uint32_t number, MutableBytes memory) {
  GrantSlot& grant = link.grants[number];
  if (grant.memory_window == nullptr) {
    grant.memory_window = ibv_alloc_mw(link.device->domain(), IBV_MW_TYPE_2);
  }
  if (grant.memory_window == nullptr) {
    note(fmt::format("replication, RDMA: {} has no memory window left: {}; regions from now on",
                     link.device->name(), std::strerror(errno)));
    link.device->give_up_windows();
    grant_by_region(link, slot, number, memory);
    return;
  }
  grant.window = {.address = reinterpret_cast<uint64_t>(memory.data()),
                  .key = ibv_inc_rkey(grant.memory_window->rkey),
                  .lane = grant.lane,
                  .length_bytes = static_cast<uint32_t>(memory.size())};
  begin_grant(link, grant, GrantSlot::State::binding);
  ibv_send_wr request{};
  request.wr_id = request_id(Request::bind, grant.lane, number);
  request.opcode = IBV_WR_BIND_MW;
  request.bind_mw.mw = grant.memory_window;
  request.bind_mw.rkey = grant.window.key;
  request.bind_mw.bind_info = {.mr = link.device->region_of(memory.data()),
                               .addr = grant.window.address,
                               .length = memory.size(),
                               .mw_access_flags = IBV_ACCESS_REMOTE_WRITE};
  static_cast<void>(gather(link, *link.data[grant.lane], request));
}

void RdmaMover::grant_by_region(Link& link, uint32_t slot, uint32_t number, MutableBytes memory) {
  GrantSlot& grant = link.grants[number];
  grant.region = verbs_->reg_mr(link.device->domain(), memory.data(), memory.size(),
                                IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  if (grant.region == nullptr) {
    end_link(slot, LinkEnd::device_error,
             fmt::format("cannot register {} bytes for a grant: {}; see the limit of locked memory",
                         memory.size(), std::strerror(errno)));
    return;
  }
  grant.window = {.address = reinterpret_cast<uint64_t>(grant.region->addr),
                  .key = grant.region->rkey,
                  .lane = grant.lane,
                  .length_bytes = static_cast<uint32_t>(memory.size())};
  begin_grant(link, grant, GrantSlot::State::open);
  tell({.kind = Waiting::Kind::granted,
        .slot = slot,
        .serial = link.serial,
        .number = number,
        .window = grant.window});
}

void RdmaMover::handle(const replica::Revoke& post) {
  Link* link = find_up(post.link);
  if (link == nullptr) return;
  ASSERT(post.grant < replica::grants_max);
  GrantSlot& grant = link->grants[post.grant];
  ASSERT(grant.state == GrantSlot::State::open || grant.state == GrantSlot::State::binding);
  if (grant.region == nullptr) {
    grant.state = GrantSlot::State::closing;
    ibv_send_wr request{};
    request.wr_id = request_id(Request::invalidate, grant.lane, post.grant);
    request.opcode = IBV_WR_LOCAL_INV;
    request.invalidate_rkey = grant.window.key;
    static_cast<void>(gather(*link, *link->data[grant.lane], request));
    return;
  }
  // Returns when the device uses it no more.
  if (const int error = verbs_->dereg_mr(grant.region); error != 0) {
    end_link(post.link.slot, LinkEnd::device_error,
             fmt::format("a grant's region cannot be taken back: {}", std::strerror(error)));
    return;
  }
  grant.region = nullptr;
  end_grant(*link, grant);
  tell({.kind = Waiting::Kind::revoked,
        .slot = post.link.slot,
        .serial = post.link.serial,
        .number = post.grant});
}

}  // namespace sluice::rdma
