// RdmaMover: devices that come, and devices that go: rdma/device_watch.h finds them, and registers
// the arena with them. Of one that goes everything is given back within a turn: the kernel waits
// for that.

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "mover/clock.h"
#include "rdma/rdma_mover.h"

namespace sluice::rdma {
namespace {

using replica::LinkEnd;

constexpr int backlog = 64;
// A device has the addresses of its interface a moment after it came, or when somebody gives it
// one.
constexpr Duration listen_again = 1_s;

}  // namespace

Device* RdmaMover::device_of(ibv_context* context, const char*& why) {
  if (!options_.device.empty() && options_.device != context->device->name) {
    why = "the IP route is over another RDMA device than the one that is to be used";
    return nullptr;
  }
  const auto found = devices_.find(context);
  why = "the RDMA device is not ready, or cannot be used: see the log";
  return found == devices_.end() ? nullptr : found->second.get();
}

void RdmaMover::handle_device_changes() {
  for (DeviceWatch::Change change; watch_.poll(change);) {
    if (change.came) {
      adopt(std::move(change.came));
      continue;
    }
    for (const auto& [context, device] : devices_) {
      if (device->offered_name() == change.gone) note_gone(context);
    }
    remove_gone();
    watch_.confirm_gone();
  }
  for (std::string line; watch_.poll_note(line);) note(line);
}

void RdmaMover::adopt(std::unique_ptr<Device> device) {
  verbs_ = &device->verbs();
  const auto watched = [&]() -> Result<void> {
    if (channel_ == nullptr) {
      if (auto opened = open_channel(); !opened) return opened;
    }
    if (auto added = watch(device->completions()->fd); !added) return added;
    return watch(device->context()->async_fd);
  }();
  if (!watched) {
    note(fmt::format("replication, RDMA device {}: {}", device->name(), watched.error().message));
    return;
  }
  note("replication, RDMA: in use: " + device->description());
  ibv_context* const context = device->context();
  devices_[context] = std::move(device);
  counts_.devices = devices_.size();
  listen_at_ = Instant();
  keep_listening();
  update_state();
}

Result<void> RdmaMover::open_channel() {
  rdma_event_channel* const made = verbs_->create_event_channel();
  if (made == nullptr) {
    return fail(
        fmt::format("rdma_cm cannot be used: {} (modprobe rdma_ucm)", std::strerror(errno)));
  }
  const int flags = fcntl(made->fd, F_GETFL);
  if (fcntl(made->fd, F_SETFL, flags | O_NONBLOCK) < 0 || !watch(made->fd)) {
    verbs_->destroy_event_channel(made);
    return fail(std::strerror(errno));
  }
  channel_ = made;
  return {};
}

// Listening -------------------------------------------------------------------------------------

void RdmaMover::keep_listening() {
  if (options_.listen.empty() || listener_ != nullptr || devices_.empty()) return;
  const Instant time = mover::now();
  if (time < listen_at_) return;
  listen_at_ = time + listen_again;
  const Result<void> listens = start_listening();
  const std::string why = listens ? "" : listens.error().message;
  if (why != why_not_listening_ && !why.empty()) note("replication, RDMA: " + why);
  why_not_listening_ = why;
  set_timer(timed_ > 0 || listener_ == nullptr);
  update_state();
}

Result<void> RdmaMover::start_listening() {
  Result<mover::SocketAddress> address = mover::passive_address(options_.listen);
  if (!address) return fail(address.error());
  rdma_cm_id* made = nullptr;
  const auto failed = [&](const char* what) {
    const int error = errno;
    const char* cure = error == ENODEV          ? " (that address is on no RDMA device)"
                       : error == EADDRINUSE    ? " (another sluiced?)"
                       : error == EADDRNOTAVAIL ? " (not an address of this machine)"
                                                : "";
    if (made != nullptr) verbs_->destroy_id(made);
    return fail(fmt::format("{}: {}: {}{}", options_.listen, what, std::strerror(error), cure));
  };
  if (verbs_->create_id(channel_, &made, nullptr, RDMA_PS_TCP) != 0) return failed("rdma_cm");
  int on = 1;
  verbs_->set_option(made, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &on, sizeof on);
  if (verbs_->bind_addr(made, address->get()) != 0 || verbs_->listen(made, backlog) != 0) {
    return failed("cannot listen for RDMA");
  }
  listener_ = made;
  const Result<mover::HostPort> asked = mover::parse_host_port(options_.listen);
  const std::string port = std::to_string(ntohs(verbs_->get_src_port(listener_)));
  const bool brackets = asked->host.find(':') != std::string::npos;
  listening_ = (brackets ? "[" + asked->host + "]" : asked->host) + ":" + port;
  return {};
}

// What the Node is told of the transport: at first it takes it for usable.
void RdmaMover::update_state() {
  const bool usable = !devices_.empty() && (options_.listen.empty() || listener_ != nullptr);
  if (usable == is_usable_) return;
  is_usable_ = usable;
  state_waits_ = true;
}

bool RdmaMover::take_state(replica::LinkEvent& out) {
  if (!state_waits_) return false;
  state_waits_ = false;
  const char* const why = is_usable_ ? ""
                          : devices_.empty()
                              ? "there is no RDMA device here"
                              : "its address cannot be listened on for RDMA: see the log";
  out = replica::TransportState{replica::Transport::rdma, is_usable_, why};
  return true;
}

// The end of a device -----------------------------------------------------------------------------

void RdmaMover::end_links_of(const Device& device, const std::string& why) {
  note(fmt::format("replication, RDMA device {}: {}", device.name(), why));
  for (uint32_t slot = 0; slot < links_.size(); ++slot) {
    if (links_[slot].device == &device) end_link(slot, LinkEnd::device_error, "");
  }
}

// Who says so may be in the middle of something: remove_gone() follows within the turn.
void RdmaMover::note_gone(ibv_context* context) {
  if (context != nullptr && std::find(gone_.begin(), gone_.end(), context) == gone_.end()) {
    gone_.push_back(context);
  }
}

void RdmaMover::remove_gone() {
  for (size_t i = 0; i < gone_.size(); ++i) remove_device(gone_[i]);
  gone_.clear();
}

void RdmaMover::remove_device(ibv_context* context) {
  if (listener_ != nullptr && listener_->verbs == context) {
    verbs_->destroy_id(listener_);
    listener_ = nullptr;
  }
  const auto found = devices_.find(context);
  if (found == devices_.end()) return;
  Device& device = *found->second;
  end_links_of(device, "it was removed");
  for (uint32_t slot = 0; slot < links_.size(); ++slot) {
    if (links_[slot].device == &device && links_[slot].state == Link::State::draining) {
      finish_end(slot);
    }
  }
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, device.completions()->fd, nullptr);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, context->async_fd, nullptr);
  device.set_gone();
  devices_.erase(found);
  counts_.devices = devices_.size();
  keep_listening();
  update_state();
}

}  // namespace sluice::rdma
