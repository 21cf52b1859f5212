#include "budget.h"

#include <fmt/format.h>

#include <algorithm>

#include "arena/arena.h"
#include "control/quantity.h"
#include "disk/store_thread.h"

namespace sluice::app {
namespace {

using control::format_count;
using control::format_size;

// Memory left to the rest of the machine when the size of the cache is ours to choose.
constexpr uint64_t cache_default_max_bytes = uint64_t{1} << 30;
constexpr uint64_t cache_default_share = 4;  // at most a quarter of what is available
constexpr uint32_t chunks_min = 8;           // fewer cannot serve two readers with read-ahead
constexpr uint32_t chunks_max = 1u << 24;    // chunk indices and head slots share 32 bits
// Code, stacks and what DPDK's drivers take apart from packet memory.
constexpr uint64_t program_bytes = 64u << 20;
// Descriptors beyond the store's files: DPDK's own (about 40), the telemetry's clients, logs, and
// a few for each queue pair of a software port.
constexpr uint64_t other_files = 128;
constexpr uint64_t files_per_queue_pair = 4;
constexpr uint32_t files_max = 1024;
constexpr uint32_t files_min = 64;
constexpr uint32_t fast_open_share = 4;  // of the half-open connections: may rest on a cookie alone
// Replication. Reads that may be under way at the store: a fetch from a peer counts as one, and
// must not keep clients from the disk.
constexpr uint32_t replica_reads = 256;
constexpr uint32_t replica_objects_min = 8'192;  // twice the generations that there may be
constexpr uint32_t replica_links_max = 128;      // replica::links_max
constexpr uint64_t replica_files_per_link = 4;   // control, data lanes, one to be told of events
constexpr uint64_t replica_other_files = 24;     // listening, etcd, wake-ups
// Sessions (records in parts, frames), the threads' stacks, answers of etcd on their way.
constexpr uint64_t replica_fixed_bytes = 48u << 20;
// Of each chunk: the Node's pin, its catalog's entry, a checksum in a manifest, a held piece.
constexpr uint64_t replica_chunk_bytes = 24 + 128 + 4 + 12;
constexpr uint64_t replica_generation_bytes = 2'048;  // path, manifest, assignment, marks
constexpr uint32_t nic_workers_max = 16;              // by default; more have to be asked for

struct Maker {
  const control::ServeOptions& options;
  const Machine& machine;
  const std::vector<PortGuess>& ports;
  Budget budget;

  void add(std::string what, std::string needs, std::string has, std::string note) {
    budget.lines.push_back({std::move(what), std::move(needs), std::move(has), std::move(note)});
  }
  void refuse(std::string why) { budget.refusals.push_back(std::move(why)); }
  Plan& plan() { return budget.plan; }
  // Descriptors of everything but content.
  [[nodiscard]] uint64_t reserved_files() const {
    const uint64_t replica = replica_other_files + replica_files_per_link * replica_links_max;
    return other_files + files_per_queue_pair * budget.plan.engines +
           (options.replica.enabled() ? replica : 0);
  }

  void plan_cores();
  void check_cores();
  void plan_queues();
  void plan_cache();
  void plan_engines();
  void plan_tcp_limits();
  void plan_store();
  void plan_replica();
  void plan_packets();
  void choose_pages();
  void check_memory();
  void check_files();
  void check_locked_memory();
};

// The cores that this process may use, those on the ports' node first, then one thread a core
// before second threads, then high numbers: core 0 has the most to do for others.
std::vector<uint32_t> by_preference(const Machine& machine, int node) {
  std::vector<Core> cores = machine.cores;
  std::stable_sort(cores.begin(), cores.end(), [&](const Core& a, const Core& b) {
    const bool a_near = node < 0 || a.node == node;
    const bool b_near = node < 0 || b.node == node;
    if (a_near != b_near) return a_near;
    if (a.is_second_thread != b.is_second_thread) return b.is_second_thread;
    return a.number > b.number;
  });
  std::vector<uint32_t> numbers;
  numbers.reserve(cores.size());
  for (const Core& core : cores) numbers.push_back(core.number);
  return numbers;
}

void Maker::plan_cores() {
  Plan& plan = budget.plan;
  const bool on_nic =
      std::any_of(ports.begin(), ports.end(), [](const PortGuess& port) { return port.is_pci; });
  plan.numa_node = ports.empty() ? -1 : ports.front().numa_node;
  if (!options.cores.empty()) {
    plan.cores = options.cores;
    plan.workers = static_cast<uint32_t>(plan.cores.size());
  } else {
    const auto near = static_cast<uint32_t>(
        std::count_if(machine.cores.begin(), machine.cores.end(), [&](const Core& core) {
          return !core.is_second_thread && (plan.numa_node < 0 || core.node == plan.numa_node);
        }));
    const uint32_t by_default =
        on_nic ? std::clamp(near - std::min(near, 1u), 1u, nic_workers_max) : 1;
    plan.workers = options.workers.value_or(by_default);
    plan.cores = by_preference(machine, plan.numa_node);
    if (plan.cores.size() > plan.workers) plan.cores.resize(plan.workers);
    std::sort(plan.cores.begin(), plan.cores.end());
  }
  plan.engines = plan.workers * static_cast<uint32_t>(ports.size());
  check_cores();
}

void Maker::check_cores() {
  const Plan& plan = budget.plan;
  std::vector<uint32_t> allowed;
  for (const Core& core : machine.cores) allowed.push_back(core.number);
  const std::string list = control::format_core_list(allowed);
  for (const uint32_t core : plan.cores) {
    if (std::find(allowed.begin(), allowed.end(), core) == allowed.end()) {
      refuse(fmt::format("--cores: core {} is not there, or not for this process; it may use {}",
                         core, list));
    }
  }
  if (plan.workers > allowed.size()) {
    refuse(
        fmt::format("--workers {}: this process may use {} cores ({}); ask for at most that many",
                    plan.workers, allowed.size(), list));
  }
  // The Node is one more worker to the store.
  const uint32_t engines_max = store::workers_max - (options.replica.enabled() ? 1 : 0);
  if (plan.engines > engines_max) {
    refuse(fmt::format(
        "--workers {}: {} ports with {} workers each make {} engines, the store takes {}; "
        "use fewer workers",
        plan.workers, ports.size(), plan.workers, plan.engines, engines_max));
  }
  const bool far = std::any_of(machine.cores.begin(), machine.cores.end(), [&](const Core& core) {
    return plan.numa_node >= 0 && core.node != plan.numa_node &&
           std::find(plan.cores.begin(), plan.cores.end(), core.number) != plan.cores.end();
  });
  std::string note = "on cores " + control::format_core_list(plan.cores);
  if (plan.numa_node >= 0) note += fmt::format(", ports on node {}", plan.numa_node);
  if (far) note += "; NOT all on that node: slower";
  if (plan.workers == allowed.size()) note += "; the store and control threads share them";
  add("workers", format_count(plan.workers), fmt::format("{} cores", allowed.size()), note);
}

void Maker::plan_queues() {
  for (const PortGuess& port : ports) {
    const uint32_t pairs = std::min<uint32_t>(budget.plan.workers, port.pairs_max);
    const std::string note = pairs < budget.plan.workers
                                 ? "the workers without one are handed their flows over rings"
                                 : "one for each worker, if the device has as many";
    add("queues", fmt::format("{} pairs", pairs), "",
        fmt::format("{}: {} rx and {} tx descriptors each; {}", port.spec,
                    port.pools.rx_descriptors, port.pools.tx_descriptors, note));
  }
}

void Maker::plan_cache() {
  Plan& plan = budget.plan;
  const uint64_t chunk = options.chunk_bytes;
  const uint64_t by_default =
      std::min(cache_default_max_bytes, machine.memory_available_bytes / cache_default_share);
  plan.cache_bytes = options.cache_bytes.value_or(std::max(by_default, chunk * chunks_min));
  const uint64_t chunks = (plan.cache_bytes + chunk - 1) / chunk;
  if (chunks < chunks_min) {
    refuse(fmt::format(
        "--cache {}: at least {} chunks are needed; ask for {} or for a smaller --chunk",
        format_size(plan.cache_bytes), chunks_min, format_size(chunk * chunks_min)));
  }
  if (chunks > chunks_max) {
    refuse(fmt::format(
        "--cache {}: at most {} chunks are possible; ask for less or for a larger --chunk",
        format_size(plan.cache_bytes), format_count(chunks_max)));
  }
  // Refused sizes go on as the nearest possible, so that the rest can be said too.
  plan.chunk_count = static_cast<uint32_t>(std::clamp<uint64_t>(chunks, chunks_min, chunks_max));
  add("cache", format_size(plan.cache_bytes), "",
      fmt::format("{} chunks of {}", format_count(plan.chunk_count), format_size(chunk)));
}

void Maker::plan_engines() {
  Plan& plan = budget.plan;
  // Flows are spread by hash: a quarter more than the mean, so that one engine is not full while
  // others have room.
  uint32_t connections = (options.connections_max + plan.workers - 1) / plan.workers;
  if (plan.workers > 1) connections += connections / 4 + 16;

  tcp::Config& tcp = plan.engine.tcp;
  tcp.max_connections = connections;
  tcp.max_half_open = std::clamp(connections / 4, 16u, 4096u);
  tcp.time_wait_max = std::clamp(connections, 1024u, 65'536u);
  tcp.receive_buffers = std::clamp(connections / 8, 64u, 16'384u);
  // All of them at once, up to a number; beyond that a response may have to wait for its turn.
  tcp.send_queues = std::min(connections, std::max(65'536u, connections / 4));
  tcp.sent_runs = std::clamp(2 * tcp.send_queues, 8'192u, 131'072u);
  // Who finds none left repairs in a plainer way: lib/tcp/recovery_episode.h.
  tcp.recoveries = std::clamp(tcp.send_queues / 4, 1'024u, 16'384u);

  plan_tcp_limits();

  content::CatalogLimits& catalog = plan.engine.catalog;
  catalog.objects_max = options.objects_max;
  // Each waiting connection may hold a piece that is on its way; beyond that, what the cache can
  // hold: whole chunks, and the short pieces that share chunks.
  catalog.pieces_max = tcp.send_queues + 64 + plan.chunk_count + options.objects_max;
  catalog.chunk_count = plan.chunk_count;
  catalog.chunk_bytes = options.chunk_bytes;
  catalog.waiters_max = tcp.send_queues;
  catalog.readahead_pieces = 2;
  catalog.fresh_for = 1_s;

  plan.head_slots = std::clamp(tcp.send_queues + tcp.send_queues / 4, 256u, 1u << 20);

  content::ArenaView view;
  view.chunk_count = plan.chunk_count;
  view.chunk_bytes = options.chunk_bytes;
  view.head_slot_count = plan.head_slots;
  const uint64_t pins = uint64_t{plan.chunk_count + plan.head_slots} * 24;
  const uint64_t rings =
      plan.ring_capacity * (sizeof(content::ToStore) + sizeof(content::ToWorker));
  plan.engine_bytes = engine::Engine::memory_bytes(plan.engine, view) + pins + rings;
  add("connections", format_count(options.connections_max), "",
      fmt::format(
          "{} an engine (half-open {}, sending {}, TIME-WAIT {}), receive buffers {} of 16 KiB",
          format_count(connections), format_count(tcp.max_half_open), format_count(tcp.send_queues),
          format_count(tcp.time_wait_max), format_count(tcp.receive_buffers)));
  add("head slots", format_count(uint64_t{plan.head_slots} * plan.engines), "",
      fmt::format("{} an engine, 1 KiB each, in the arena", format_count(plan.head_slots)));
  add("rings", fmt::format("{}", 2 * plan.engines), "",
      fmt::format("between engines and store, {} messages each", format_count(plan.ring_capacity)));
  add("engines", format_size(plan.engine_bytes * plan.engines), "",
      fmt::format("{} of {} each (one for each worker and port)", plan.engines,
                  format_size(plan.engine_bytes)));
}

// What the operator may limit, and what follows from the size of the tables.
void Maker::plan_tcp_limits() {
  tcp::Config& tcp = budget.plan.engine.tcp;
  tcp.source_limits = {.connections_max = options.source_connections_max,
                       .half_open_max = options.source_half_open_max,
                       .prefix_v4 = options.source_prefix_v4,
                       .prefix_v6 = options.source_prefix_v6};
  tcp.stall_timeout = options.stall_timeout;
  tcp.mss_max = options.mss_max;
  if (options.fast_open) tcp.fast_open_pending_max = tcp.max_half_open / fast_open_share;
  if (!tcp.source_limits.enabled()) return;
  const auto limit = [](uint32_t n) { return n > 0 ? format_count(n) : std::string("no limit"); };
  add("sources",
      format_size(tcp::SourceLimits::memory_bytes(tcp.source_limits, tcp.max_connections)), "",
      fmt::format("an engine: of one /{} or /{} {} connections, {} half-open",
                  tcp.source_limits.prefix_v4, tcp.source_limits.prefix_v6,
                  limit(tcp.source_limits.connections_max),
                  limit(tcp.source_limits.half_open_max)));
}

void Maker::plan_store() {
  Plan& plan = budget.plan;
  store::Config& store = plan.store;
  store.workers = plan.engines + (options.replica.enabled() ? 1 : 0);
  store.last_holds = options.replica.enabled();
  if (options.replica.enabled()) store.reads_in_flight = replica_reads;
  store.chunk_count = plan.chunk_count;
  store.chunk_bytes = options.chunk_bytes;
  store.max_objects = options.objects_max;
  store.lookups_max = plan.engine.session.lookups_max;
  store.needs_max = plan.engine.catalog.pieces_max;
  const uint64_t reserved = reserved_files();
  const uint64_t left = machine.open_files_max > reserved ? machine.open_files_max - reserved : 0;
  store.max_open_files = static_cast<uint32_t>(std::clamp<uint64_t>(left, files_min, files_max));
  if (store.workers > store::workers_max) return;  // refused already
  plan.store_bytes = store::Store::memory_bytes(store);
  add("store", format_size(plan.store_bytes), "",
      fmt::format("{} files known, {} open at a time", format_count(store.max_objects),
                  format_count(store.max_open_files)));
}

void Maker::plan_replica() {
  if (!options.replica.enabled()) return;
  ReplicaPlan& plan = budget.plan.replica;
  plan.enabled = true;
  plan.links_max = replica_links_max;
  plan.overlay = {.max_open_files = budget.plan.store.max_open_files,
                  .reads_in_flight = budget.plan.store.reads_in_flight,
                  .chunk_bytes = options.chunk_bytes};
  const uint64_t cache = uint64_t{budget.plan.chunk_count} * options.chunk_bytes;
  const uint64_t chunks_held =
      uint64_t{budget.plan.chunk_count} * options.replica.hold_percent / 100;
  plan.hold_bytes_max = options.replica.hold_bytes.value_or(chunks_held * options.chunk_bytes);
  const uint64_t others = uint64_t{chunks_min} * options.chunk_bytes;
  if (plan.hold_bytes_max + others > cache) {
    refuse(
        fmt::format("--hold {}: of a cache of {} {} must be left to the rest; ask for less, or "
                    "for a larger --cache",
                    format_size(plan.hold_bytes_max), format_size(cache), format_size(others)));
  }
  if (plan.hold_bytes_max < options.chunk_bytes) {
    refuse(
        fmt::format("--hold {}: less than one chunk of {}; ask for more, or for a larger --cache",
                    format_size(plan.hold_bytes_max), format_size(options.chunk_bytes)));
  }
  if (options.objects_max < replica_objects_min) {
    refuse(fmt::format("--max-objects {}: replication needs at least {}",
                       format_count(options.objects_max), format_count(replica_objects_min)));
  }
  const uint64_t rings =
      budget.plan.ring_capacity * (sizeof(content::ToStore) + sizeof(content::ToWorker)) +
      replica_ring_capacity * (sizeof(replica::ToOverlay) + sizeof(replica::FromOverlay));
  plan.bytes = replica_fixed_bytes + rings + replica::Overlay::memory_bytes(plan.overlay) +
               uint64_t{budget.plan.chunk_count} * replica_chunk_bytes +
               uint64_t{plan.overlay.generations_max} * replica_generation_bytes;
  add("replica", format_size(plan.bytes), "",
      fmt::format("holds at most {}; {} generations, {} links, {} pieces on their way",
                  format_size(plan.hold_bytes_max), format_count(plan.overlay.generations_max),
                  plan.links_max, plan.overlay.reads_in_flight));
}

void Maker::plan_packets() {
  for (const PortGuess& port : ports) {
    nic::PoolNeeds needs = port.pools;
    needs.workers = budget.plan.workers;
    needs.queue_pairs =
        std::max(needs.queue_pairs, std::min<uint32_t>(needs.workers, port.pairs_max));
    needs.mtu = port.mtu;
    const nic::PoolPlan pools = nic::plan_pools(needs);
    budget.plan.packet_bytes += nic::packet_memory_bytes(needs, 1);
    add("mbufs", format_size(pools.total_bytes), "",
        fmt::format("{}: {} to receive (of {}), {} for headers, {} for payload", port.spec,
                    format_count(uint64_t{pools.rx_mbufs} * needs.queue_pairs),
                    format_size(pools.rx_data_bytes),
                    format_count(uint64_t{pools.header_mbufs} * needs.workers),
                    format_count(uint64_t{pools.payload_mbufs} * needs.workers)));
  }
}

uint64_t pages(uint64_t bytes) {
  return (bytes + hugepage_bytes - 1) / hugepage_bytes;
}

// Packets first: a NIC without an IOMMU cannot do without; then the arena.
void Maker::choose_pages() {
  Plan& plan = budget.plan;
  arena::Options arena;
  arena.content_bytes = uint64_t{plan.chunk_count} * options.chunk_bytes;
  arena.chunk_bytes = options.chunk_bytes;
  arena.workers = plan.engines;
  arena.head_slots_per_worker = plan.head_slots;
  plan.arena_bytes = arena::Arena::memory_bytes(arena);

  uint64_t free = machine.hugepages_free;
  for (const Node& node : machine.nodes) {
    if (node.number == plan.numa_node) free = node.hugepages_free;
  }
  const uint64_t for_packets = pages(plan.packet_bytes);
  const uint64_t for_arena = pages(plan.arena_bytes);
  const uint64_t all = for_packets + for_arena;
  std::string note;
  if (options.no_huge) {
    note = "not used (--no-huge)";
  } else {
    plan.hugepages_for_packets = free >= for_packets;
    plan.hugepages_for_arena = free >= all;
    note = plan.hugepages_for_arena     ? "used"
           : plan.hugepages_for_packets ? "used for packets alone"
                                        : "not used: plain memory instead";
    if (!plan.hugepages_for_arena) {
      note += fmt::format("; for more speed: sysctl vm.nr_hugepages={}",
                          all + machine.hugepages_free - std::min(free, machine.hugepages_free));
    }
  }
  add("hugepages", fmt::format("{} of 2 MiB", all), format_count(free), note);
  const bool on_nic =
      std::any_of(ports.begin(), ports.end(), [](const PortGuess& port) { return port.is_pci; });
  if (on_nic && !plan.hugepages_for_arena && !machine.has_iommu) {
    refuse(
        fmt::format("hugepages: a NIC without an IOMMU needs {} of them, {} are free; run sysctl "
                    "vm.nr_hugepages={}, or ask for a smaller --cache",
                    all, free, all));
  }
}

void Maker::check_memory() {
  const Plan& plan = budget.plan;
  const uint64_t arena = plan.hugepages_for_arena ? 0 : plan.arena_bytes;
  const uint64_t packets = plan.hugepages_for_packets ? 0 : plan.packet_bytes;
  const uint64_t rest = packets + plan.engine_bytes * plan.engines + plan.store_bytes +
                        plan.replica.bytes + program_bytes;
  const uint64_t available = machine.memory_available_bytes;
  add("memory", format_size(arena + rest), format_size(available),
      fmt::format("plain memory: arena {}, packets {}, engines, store and program {}",
                  format_size(arena), format_size(packets), format_size(rest - packets)));
  if (arena + rest <= available) return;
  const uint64_t heads = uint64_t{plan.head_slots} * plan.engines * content::head_slot_bytes;
  const uint64_t spare = rest + heads < available ? available - rest - heads : 0;
  const std::string needs = fmt::format("memory: {} are needed, {} are available",
                                        format_size(arena + rest), format_size(available));
  const uint64_t chunk = options.chunk_bytes;
  if (arena > 0 && spare / chunk > chunks_min) {
    // A tenth is left, since others want memory too.
    refuse(fmt::format("{}; ask for a smaller --cache (at most {}M)", needs,
                       std::max(spare / 10 * 9, chunk * chunks_min) >> 20));
  } else {
    refuse(
        fmt::format("{}; ask for fewer --max-connections, --max-objects or --workers, or a "
                    "smaller --cache",
                    needs));
  }
}

void Maker::check_files() {
  const Plan& plan = budget.plan;
  const uint64_t needs = plan.store.max_open_files + reserved_files();
  const std::string has =
      machine.open_files_max == unlimited ? "no limit" : format_count(machine.open_files_max);
  add("open files", format_count(needs), has, "");
  if (needs > machine.open_files_max) {
    refuse(
        fmt::format("open files: {} are needed, the hard limit is {}; raise it with ulimit -Hn {}",
                    needs, machine.open_files_max, needs));
  }
}

void Maker::check_locked_memory() {
  const Plan& plan = budget.plan;
  const bool fits = machine.locked_memory_max_bytes >= plan.arena_bytes;
  add("locked memory", format_size(plan.arena_bytes),
      machine.locked_memory_max_bytes == unlimited ? "no limit"
                                                   : format_size(machine.locked_memory_max_bytes),
      fits ? ""
      : options.replica.enabled()
          ? "the arena is not registered with io_uring, nor with an RDMA "
            "device; raise it with ulimit -l"
          : "the arena is not registered with io_uring: slower; raise it with ulimit -l");
}

}  // namespace

std::string Budget::text() const {
  std::string out;
  for (const BudgetLine& line : lines) {
    std::string row = fmt::format("  {:<14} {:>12}  {:>12}  {}", line.what, line.needs,
                                  line.has.empty() ? "" : "of " + line.has, line.note);
    row.erase(row.find_last_not_of(' ') + 1);
    out += row + "\n";
  }
  return out;
}

Budget compute_budget(const control::ServeOptions& options, const Machine& machine,
                      const std::vector<PortGuess>& ports) {
  Maker maker{.options = options, .machine = machine, .ports = ports, .budget = {}};
  maker.plan_cores();
  maker.plan_queues();
  maker.plan_cache();
  maker.plan_engines();
  maker.plan_store();
  maker.plan_replica();
  maker.plan_packets();
  maker.choose_pages();
  maker.check_memory();
  maker.check_files();
  maker.check_locked_memory();
  return std::move(maker.budget);
}

}  // namespace sluice::app
