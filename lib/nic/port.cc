#include "nic/port.h"

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <initializer_list>
#include <thread>

#include "base/assert.h"
#include "nic/device_watch.h"
#include "nic/dpdk_log.h"
#include "nic/limits.h"
#include "nic/mbuf_pools.h"
#include "nic/port_plan.h"
#include "nic/queue_impl.h"
#include "nic/send_memory.h"

namespace sluice::nic {
namespace {

constexpr size_t rss_key_bytes_max = 128;
// Trains that wait to be cut pin at most this many chunks, beside what mbufs pin.
constexpr uint32_t pending_pins = (pending_trains_max + 1) * wire::TxFrame::extents_max;

Error dpdk_error(const std::string& what, int code) {
  return Error{what + ": " + rte_strerror(code < 0 ? -code : code)};
}

DeviceWatch::Pools pools_of(std::initializer_list<const std::vector<MempoolHandle>*> lists) {
  DeviceWatch::Pools all;
  for (const auto* list : lists) {
    for (const MempoolHandle& pool : *list) all.push_back(pool.get());
  }
  return all;
}

/// Drawn from the kernel: a peer must not be able to aim its flows at one worker.
void draw_secret(void* to, size_t bytes) {
  const ssize_t got = getrandom(to, bytes, 0);
  ASSERT(got == static_cast<ssize_t>(bytes));
}

}  // namespace

class Port::Impl {
 public:
  explicit Impl(PortPlan plan) : plan_(std::move(plan)) {}
  ~Impl() {
    if (started_) stop(Duration());
    const DpdkLog log;
    remove_port(plan_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[nodiscard]] const PortPlan& plan() const { return plan_; }
  [[nodiscard]] Result<void> start(std::span<const WorkerEnd> workers,
                                   std::span<const SendRegion> regions);
  uint64_t stop(Duration patience);
  uint64_t give_back(Duration patience);
  [[nodiscard]] const DeviceWatch& watch() const { return watch_; }
  [[nodiscard]] QueueImpl& queue(uint32_t worker) {
    ASSERT(started_ && worker < queues_.size());
    return queues_[worker];
  }

 private:
  [[nodiscard]] Result<void> configure(const PortUnit& unit);
  [[nodiscard]] Result<void> set_mtu(const PortUnit& unit);
  [[nodiscard]] Result<void> make_memory();
  [[nodiscard]] Result<void> set_up_queues();
  [[nodiscard]] Result<void> bring_up(const PortUnit& unit);
  void open_filters(const PortUnit& unit);
  void make_ends(std::span<const WorkerEnd> workers);
  [[nodiscard]] ReceiverConfig receiver_of(uint32_t worker, std::span<const WorkerEnd> ends) const;
  [[nodiscard]] TransmitterConfig transmitter_of(uint32_t worker,
                                                 std::span<const WorkerEnd> ends) const;
  [[nodiscard]] bool is_far(const WorkerEnd& end) const;
  [[nodiscard]] bool is_quiet();
  void close_units();
  void release_memory();
  [[nodiscard]] std::string name(const char* kind, uint32_t index) const {
    return "sl" + std::to_string(plan_.first_id()) + kind + std::to_string(index);
  }

  PortPlan plan_;
  SendMemory memory_;
  // One per queue pair, and one per worker.
  std::vector<MempoolHandle> rx_pools_;
  std::vector<MempoolHandle> frame_pools_;
  std::vector<MempoolHandle> payload_pools_;
  std::vector<RingHandle> inboxes_;
  std::vector<RingHandle> outboxes_;  // one per tx queue that several workers use
  std::vector<RingHandle> returned_;
  std::deque<QueueImpl> queues_;  // do not move
  bool far_memory_ = false;       // what is sent from is on another NUMA node
  uint64_t seed_ = 0;
  bool started_ = false;
  DeviceWatch watch_;
};

// --- Start ---

Result<void> Port::Impl::start(std::span<const WorkerEnd> workers,
                               std::span<const SendRegion> regions) {
  const PortFacts& facts = plan_.facts;
  const std::string context = "port " + facts.spec;
  if (started_) return fail(context + " is started already");
  if (workers.size() != facts.workers) return fail(context + ": wrong number of workers");
  const RealtimeSignalsIgnored quiet(plan_.profile.ignore_signals);
  DpdkLog log;
  draw_secret(&seed_, sizeof seed_);
  Result<void> done;
  for (const PortUnit& unit : plan_.units) {
    if (done) done = configure(unit);
  }
  if (done) done = make_memory();
  if (done) done = set_up_queues();
  if (done) {
    // Several units are vdevs, which need no registration: the first stands for all.
    auto memory = SendMemory::attach(regions, plan_.units.front().device);
    if (memory) {
      memory_ = std::move(*memory);
    } else {
      done = fail(memory.error());
    }
  }
  for (const PortUnit& unit : plan_.units) {
    if (done) done = bring_up(unit);
  }
  if (!done) {
    close_units();  // the driver's queues hold mbufs of the pools: they go first
    release_memory();
    return fail(done.error().in(context).message + log.said());
  }
  far_memory_ = std::any_of(regions.begin(), regions.end(), [&](const SendRegion& region) {
    return facts.numa_node >= 0 && region.numa_node >= 0 && region.numa_node != facts.numa_node;
  });
  make_ends(workers);
  watch_.begin(plan_.units, pools_of({&rx_pools_}), pools_of({&frame_pools_, &payload_pools_}));
  started_ = true;
  return {};
}

Result<void> Port::Impl::configure(const PortUnit& unit) {
  const PortFacts& facts = plan_.facts;
  rte_eth_dev_info info{};
  if (const int code = rte_eth_dev_info_get(unit.id, &info); code != 0) {
    return fail(dpdk_error("the device does not describe itself", code));
  }
  rte_eth_conf conf{};
  // A driver that does not know of larger frames is told of the usual ones (mtu_of_interface).
  conf.rxmode.mtu = plan_.profile.mtu_of_interface ? uint16_t{RTE_ETHER_MTU} : facts.mtu;
  if (plan_.vlan_filter != 0) conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
  if (facts.offloads.rx_checksum) {
    // virtio and vmxnet3 verify TCP only.
    conf.rxmode.offloads |=
        RTE_ETH_RX_OFFLOAD_TCP_CKSUM | (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM);
  }
  if (facts.offloads.chained_mbufs) conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  if (facts.offloads.tx_checksum) conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
  if (plan_.sums_ip) conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
  if (facts.offloads.tcp_segmentation) conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO;

  std::array<uint8_t, rss_key_bytes_max> key{};
  if (facts.steering == Steering::rss && facts.rx_queues > 1) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf =
        info.flow_type_rss_offloads &
        (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV4_TCP |
         RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_IPV6_TCP_EX);
    if (info.hash_key_size > 0 && info.hash_key_size <= key.size()) {
      draw_secret(key.data(), info.hash_key_size);
      conf.rx_adv_conf.rss_conf.rss_key = key.data();
      conf.rx_adv_conf.rss_conf.rss_key_len = info.hash_key_size;
    }
  }
  if (const int code =
          rte_eth_dev_configure(unit.id, plan_.rx_queues_each(), plan_.tx_queues_each(), &conf);
      code != 0) {
    return fail(dpdk_error("the device refuses its configuration", code));
  }
  return plan_.set_mtu ? set_mtu(unit) : Result<void>();
}

Result<void> Port::Impl::set_mtu(const PortUnit& unit) {
  const PortFacts& facts = plan_.facts;
  if (plan_.profile.mtu_of_interface) return set_interface_mtu(facts.interface, facts.mtu);
  const int code = rte_eth_dev_set_mtu(unit.id, facts.mtu);
  if (code != 0 && code != -ENOTSUP) {
    return fail(dpdk_error("the device refuses an MTU of " + std::to_string(facts.mtu), code));
  }
  return {};
}

Result<void> Port::Impl::make_memory() {
  const PortFacts& facts = plan_.facts;
  const PoolPlan& pools = plan_.pools;
  const auto add_pool = [](std::vector<MempoolHandle>& to,
                           Result<MempoolHandle> made) -> Result<void> {
    if (!made) return fail(made.error());
    to.push_back(std::move(*made));
    return {};
  };
  const auto add_ring = [](std::vector<RingHandle>& to, Result<RingHandle> made) -> Result<void> {
    if (!made) return fail(made.error());
    to.push_back(std::move(*made));
    return {};
  };
  const int node = facts.numa_node;
  Result<void> done;
  for (uint32_t i = 0; done && i < std::max(facts.rx_queues, facts.tx_queues); ++i) {
    const PoolShape shape{name("rx", i), pools.rx_mbufs, pools.rx_data_bytes, node};
    done = add_pool(rx_pools_, plan_.profile.sends_from_rx_pool ? make_umem_pool(shape)
                                                                : make_data_pool(shape));
    // The AF_XDP driver takes the first chunk of the pool's memory for the whole of it.
    if (done && plan_.profile.sends_from_rx_pool && rx_pools_.back()->nb_mem_chunks != 1) {
      done = fail(
          "packet memory is in pieces, the driver needs each pool in one: "
          "give it more hugepages, or allow plain memory");
    }
  }
  const uint32_t frame_data =
      facts.offloads.chained_mbufs ? header_data_bytes : pools.rx_data_bytes;
  for (uint32_t i = 0; done && i < facts.workers; ++i) {
    if (pools.header_mbufs > 0) {
      done = add_pool(frame_pools_,
                      make_data_pool({name("hd", i), pools.header_mbufs, frame_data, node}));
    }
    if (done && pools.payload_mbufs > 0) {
      done = add_pool(payload_pools_,
                      make_payload_pool({name("pl", i), pools.payload_mbufs, 0, node}));
    }
    if (done) {
      done =
          add_ring(returned_, make_ring({name("rt", i), pools.payload_mbufs + pending_pins, node}));
    }
    if (done && facts.workers > 1) {
      done = add_ring(inboxes_, make_ring({name("in", i), handover_ring_frames, node}));
    }
  }
  for (uint32_t i = 0; done && facts.tx_queues < facts.workers && i < facts.tx_queues; ++i) {
    done = add_ring(outboxes_, make_ring({name("ou", i), handover_ring_frames, node}));
  }
  return done;
}

Result<void> Port::Impl::set_up_queues() {
  const PortFacts& facts = plan_.facts;
  const auto node = facts.numa_node < 0 ? static_cast<unsigned>(SOCKET_ID_ANY)
                                        : static_cast<unsigned>(facts.numa_node);
  // Null configurations: the driver's own thresholds, and the offloads of the port.
  for (uint16_t i = 0; i < facts.rx_queues; ++i) {
    const PortPlan::Place place = plan_.place(i);
    if (const int code = rte_eth_rx_queue_setup(place.id, place.queue, facts.rx_descriptors, node,
                                                nullptr, rx_pools_[i].get());
        code != 0) {
      return fail(dpdk_error("rx queue " + std::to_string(i), code));
    }
  }
  for (uint16_t i = 0; i < facts.tx_queues; ++i) {
    const PortPlan::Place place = plan_.place(i);
    if (const int code =
            rte_eth_tx_queue_setup(place.id, place.queue, facts.tx_descriptors, node, nullptr);
        code != 0) {
      return fail(dpdk_error("tx queue " + std::to_string(i), code));
    }
  }
  return {};
}

Result<void> Port::Impl::bring_up(const PortUnit& unit) {
  if (plan_.set_mac) {
    rte_ether_addr address{};
    std::copy(plan_.facts.mac.begin(), plan_.facts.mac.end(), std::begin(address.addr_bytes));
    const int code = rte_eth_dev_default_mac_addr_set(unit.id, &address);
    // Frames to an address that the device does not know still come in when it is promiscuous.
    if (code != 0 && rte_eth_promiscuous_enable(unit.id) != 0) {
      return fail(dpdk_error("the device takes neither a MAC address nor promiscuous mode", code));
    }
  }
  if (const int code = rte_eth_dev_start(unit.id); code != 0) {
    return fail(dpdk_error("the device does not start", code));
  }
  if (plan_.vlan_filter != 0) {
    if (const int code = rte_eth_dev_vlan_filter(unit.id, plan_.vlan_filter, 1); code != 0) {
      return fail(dpdk_error(
          "the device does not let VLAN " + std::to_string(plan_.vlan_filter) + " in", code));
    }
  }
  open_filters(unit);
  return {};
}

/// NDP needs multicast (RFC 4861 section 7.2.1: solicited-node groups).
void Port::Impl::open_filters(const PortUnit& unit) {
  if (plan_.profile.derive_mac) return;  // the kernel sends us everything
  if (rte_eth_allmulticast_enable(unit.id) == 0) return;
  if (rte_eth_promiscuous_enable(unit.id) == 0) return;
  plan_.facts.notes.push_back(
      "the device takes no multicast filter: if IPv6 neighbours cannot find us, this is why");
}

void Port::Impl::make_ends(std::span<const WorkerEnd> workers) {
  for (uint32_t i = 0; i < workers.size(); ++i) {
    const WorkerEnd& end = workers[i];
    ASSERT(end.pins != nullptr && end.counters != nullptr);
    queues_.emplace_back(QueueImpl::Config{.receiver = receiver_of(i, workers),
                                           .transmitter = transmitter_of(i, workers),
                                           .pins = end.pins,
                                           .counters = end.counters,
                                           .lcore = end.lcore,
                                           .returned = returned_[i].get(),
                                           .memory = &memory_});
  }
}

/// Is the worker's core on another NUMA node than the port?
bool Port::Impl::is_far(const WorkerEnd& end) const {
  const auto node = static_cast<int>(rte_lcore_to_socket_id(end.lcore));
  return plan_.facts.numa_node >= 0 && node >= 0 && node != plan_.facts.numa_node;
}

ReceiverConfig Port::Impl::receiver_of(uint32_t worker, std::span<const WorkerEnd> ends) const {
  const PortFacts& facts = plan_.facts;
  ReceiverConfig config{.burst = facts.burst,
                        .worker = worker,
                        .workers = facts.workers,
                        .is_far = is_far(ends[worker]),
                        .steering = facts.steering,
                        .seed = seed_};
  for (uint32_t queue = worker; queue < facts.rx_queues; queue += facts.workers) {
    const bool fits = config.queues.push_back(plan_.place(static_cast<uint16_t>(queue)));
    ASSERT(fits);  // plan_queues
  }
  if (facts.workers > 1) {
    config.inbox = inboxes_[worker].get();
    for (uint32_t i = 0; i < facts.workers; ++i) {
      config.inboxes[i] = inboxes_[i].get();
      config.bells[i] = ends[i].bell;
    }
  }
  return config;
}

TransmitterConfig Port::Impl::transmitter_of(uint32_t worker,
                                             std::span<const WorkerEnd> ends) const {
  const PortFacts& facts = plan_.facts;
  const auto queue = static_cast<uint16_t>(worker % facts.tx_queues);
  const PortPlan::Place place = plan_.place(queue);
  TransmitterConfig config{.port = place.id,
                           .queue = place.queue,
                           .owns_queue = worker < facts.tx_queues,
                           .offloads = facts.offloads,
                           .sums_ip = plan_.sums_ip,
                           .train_max_bytes = facts.train_max_bytes,
                           .segment_max_bytes = plan_.profile.segment_max_bytes,
                           .mbufs_per_frame_max = plan_.mbufs_per_frame_max,
                           .burst = facts.burst,
                           .frame_max_bytes = plan_.frame_max_bytes,
                           .idle_reap = plan_.profile.idle_reap,
                           .view = ends[worker].view,
                           .is_far = far_memory_ || is_far(ends[worker])};
  if (!outboxes_.empty()) {
    if (!config.owns_queue) config.owner_bell = ends[queue].bell;
    (config.owns_queue ? config.from_others : config.to_owner) = outboxes_[queue].get();
  }
  config.frames =
      plan_.profile.sends_from_rx_pool ? rx_pools_[queue].get() : frame_pools_[worker].get();
  if (facts.offloads.chained_mbufs) config.payloads = payload_pools_[worker].get();
  return config;
}

// --- Stop ---

bool Port::Impl::is_quiet() {
  return std::all_of(queues_.begin(), queues_.end(),
                     [](const QueueImpl& queue) { return queue.transmitter.in_flight() == 0; });
}

uint64_t Port::Impl::stop(Duration patience) {
  if (!started_) return 0;
  started_ = false;
  watch_.end();
  const DpdkLog log;  // drivers complain of what is gone already
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(patience.ns());
  while (true) {
    for (QueueImpl& queue : queues_) {
      queue.transmitter.flush();
      queue.transmitter.reap();
    }
    if (is_quiet() || std::chrono::steady_clock::now() >= end) break;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  uint64_t given_up = 0;
  for (QueueImpl& queue : queues_) given_up += queue.transmitter.abandon();
  for (const RingHandle& outbox : outboxes_) {
    void* mbuf = nullptr;
    while (rte_ring_sc_dequeue(outbox.get(), &mbuf) == 0) {
      rte_pktmbuf_free(static_cast<rte_mbuf*>(mbuf));
      ++given_up;
    }
  }
  // A loopback (net_ring) hands back what we sent, pins and all: take it in before the end.
  for (QueueImpl& queue : queues_) queue.receiver.abandon();
  close_units();
  for (QueueImpl& queue : queues_) {
    queue.home.drain();
    given_up += queue.home.outstanding();
  }
  queues_.clear();
  release_memory();
  return given_up;
}

uint64_t Port::Impl::give_back(Duration patience) {
  const uint64_t left = stop(patience);
  const DpdkLog log;
  for (PortUnit& unit : plan_.units) {
    if (unit.device != nullptr) rte_dev_remove(std::exchange(unit.device, nullptr));
  }
  return left;
}

void Port::Impl::close_units() {
  for (const PortUnit& unit : plan_.units) rte_eth_dev_stop(unit.id);
  for (const PortUnit& unit : plan_.units) rte_eth_dev_close(unit.id);
  plan_.closed = true;
}

void Port::Impl::release_memory() {
  memory_ = SendMemory();
  returned_.clear();
  outboxes_.clear();
  inboxes_.clear();
  payload_pools_.clear();
  frame_pools_.clear();
  rx_pools_.clear();
}

// --- Port ---

Port::Port(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Port::~Port() = default;

Result<std::unique_ptr<Port>> Port::open(const PortSpec& spec, const PortOptions& options) {
  auto plan = plan_port(spec, options);
  if (!plan) return fail(plan.error());
  return std::unique_ptr<Port>(new Port(std::make_unique<Impl>(std::move(*plan))));
}

const PortFacts& Port::facts() const {
  return impl_->plan().facts;
}
Result<void> Port::start(std::span<const WorkerEnd> workers, std::span<const SendRegion> regions) {
  return impl_->start(workers, regions);
}
Queue Port::queue(uint32_t worker) {
  return Queue(impl_->queue(worker));
}
uint64_t Port::stop(Duration patience) {
  return impl_->stop(patience);
}

bool Port::is_wanted_back() const {
  return impl_->watch().is_wanted_back();
}
uint64_t Port::give_back(Duration patience) {
  return impl_->give_back(patience);
}
PortCounters Port::counters() const {
  return impl_->watch().counters();
}
bool Port::link_up() const {
  return impl_->watch().link_up();
}

}  // namespace sluice::nic
