#include "daemon.h"

#include <fmt/format.h>
#include <numa.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>

#include "clock.h"
#include "control/quantity.h"
#include "nic/driver_profile.h"
#include "port_watch.h"

namespace sluice::app {
namespace {

// How long frames that are in the devices at the end may take to leave.
constexpr Duration port_patience = 1_s;
// After the drain's time is over: for the resets to leave.
constexpr Duration abort_patience = 1_s;
// A trial waits for links: copper takes up to about this long to agree on a speed (IEEE 802.3
// clause 28).
constexpr Duration link_patience = 4_s;
constexpr int exit_ok = 0;
constexpr int exit_cut_short = 1;

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  return set;
}

SipKey random_key() {
  SipKey key;
  for (size_t have = 0; have < sizeof key;) {
    const ssize_t n = getrandom(reinterpret_cast<char*>(&key) + have, sizeof key - have, 0);
    if (n > 0) have += static_cast<size_t>(n);
  }
  return key;
}

tcp::CongestionAlgorithm congestion_of(control::Congestion asked) {
  switch (asked) {
    case control::Congestion::cubic:
      return tcp::CongestionAlgorithm::cubic;
    case control::Congestion::bbr:
      return tcp::CongestionAlgorithm::bbr;
    case control::Congestion::new_reno:
      return tcp::CongestionAlgorithm::new_reno;
    case control::Congestion::dctcp:
      return tcp::CongestionAlgorithm::dctcp;
  }
  return tcp::CongestionAlgorithm::cubic;
}

std::string read_text(const char* path) {
  const std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

int launch_worker(void* worker) {
  static_cast<Worker*>(worker)->run();
  return 0;
}

bool is_adaptive(control::Polling asked, const nic::PortFacts& facts) {
  if (asked != control::Polling::automatic) return asked == control::Polling::adaptive;
  return facts.polling == nic::Polling::adaptive;
}

}  // namespace

void block_signals() {
  const sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

Result<PortList> examine_ports(const control::ServeOptions& options) {
  const Result<std::string> directory = nic::drivers_config_directory(options.drivers_directory);
  if (!directory) return fail(directory.error());
  PortList list;
  for (const control::PortOptions& port : options.ports) {
    const Result<nic::PortSpec> spec =
        nic::parse_port_spec(port.spec, static_cast<uint32_t>(list.specs.size()));
    if (!spec) return fail(spec.error());
    const Result<nic::DriverProfile> profile = nic::find_profile(*directory, spec->profile);
    if (!profile) return fail(profile.error());
    if (port.addresses.size() > inet::addresses_max) {
      return fail(fmt::format("port {}: {} addresses; at most {}", port.spec, port.addresses.size(),
                              inet::addresses_max));
    }
    PortGuess guess;
    guess.spec = port.spec;
    guess.is_pci = spec->is_pci;
    guess.numa_node = nic::numa_node(*spec);
    guess.pairs_max = profile->pairs_max;
    guess.pools = nic::expected_pools(*spec, *profile, port.mtu);
    guess.mtu = guess.pools.mtu;
    list.specs.push_back(*spec);
    list.guesses.push_back(guess);
  }
  return list;
}

Daemon::Daemon(const control::ServeOptions& options, Budget budget)
    : options_(options),
      budget_(std::move(budget)),
      media_types_(std::make_unique<http::MediaTypes>(read_text("/etc/mime.types"))),
      fast_open_key_(random_key()) {
  const sigset_t set = ending_signals();
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  drain_ordered_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

Daemon::~Daemon() {
  stop();
  if (signals_ >= 0) close(signals_);
  if (drain_ordered_ >= 0) close(drain_ordered_);
}

Result<void> Daemon::start(const std::vector<nic::PortSpec>& specs) {
  if (signals_ < 0 || drain_ordered_ < 0) return fail("signals: " + std::string(strerror(errno)));
  start_clock();
  if (Result<void> done = identify_node(); !done) return done;
  if (Result<void> done = start_eal(specs); !done) return done;
  if (Result<void> done = open_ports(specs); !done) return done;
  if (Result<void> done = make_arena(); !done) return done;
  make_engines();
  if (Result<void> done = start_ports(); !done) return done;
  if (Result<void> done = start_store(); !done) return done;
  if (Result<void> done = start_workers(); !done) return done;
  if (Result<void> done = start_replica(); !done) return done;
  if (Result<void> done = start_telemetry(); !done) return done;
  log_ready();
  return {};
}

Result<std::vector<PortTrial>> Daemon::try_ports(const std::vector<nic::PortSpec>& specs) {
  start_clock();
  if (Result<void> done = start_eal(specs); !done) return fail(done.error());
  if (Result<void> done = open_ports(specs); !done) return fail(done.error());
  if (Result<void> done = make_arena(); !done) return fail(done.error());
  make_engines();
  if (Result<void> done = start_ports(); !done) return fail(done.error());
  const auto has_link = [](const auto& port) { return port->link_up(); };
  const Instant until = clock_now() + link_patience;
  while (!std::all_of(ports_.begin(), ports_.end(), has_link) && clock_now() < until) {
    if (wait(20_ms)) return fail("ended by a signal");
  }
  std::vector<PortTrial> trials;
  for (const auto& port : ports_) trials.push_back({port->facts(), port->link_up()});
  return trials;
}

Result<void> Daemon::start_eal(const std::vector<nic::PortSpec>& specs) {
  nic::EalOptions eal;
  eal.instance = options_.instance;
  eal.worker_cores = budget_.plan.cores;
  eal.packet_memory_bytes = budget_.plan.packet_bytes;
  eal.memory =
      budget_.plan.hugepages_for_packets ? nic::PacketMemory::automatic : nic::PacketMemory::plain;
  eal.user_arguments = options_.eal_arguments;
  eal.verbose = options_.log_level == control::LogLevel::debug;
  for (const nic::PortSpec& spec : specs) {
    if (spec.is_pci) eal.pci_devices.push_back(spec.device);
  }
  Result<nic::Eal> started = nic::Eal::start(eal);
  if (!started) return fail(started.error());
  eal_.emplace(*std::move(started));
  return {};
}

Result<void> Daemon::open_ports(const std::vector<nic::PortSpec>& specs) {
  for (size_t i = 0; i < specs.size(); ++i) {
    const control::PortOptions& asked = options_.ports[i];
    nic::PortOptions port;
    port.workers = budget_.plan.workers;
    port.mtu = asked.mtu;
    port.mac = asked.mac;
    port.vlan = asked.vlan;
    port.drivers_directory = options_.drivers_directory;
    Result<std::unique_ptr<nic::Port>> opened = nic::Port::open(specs[i], port);
    if (!opened) return fail(opened.error());
    ports_.push_back(*std::move(opened));
    const nic::PortFacts& facts = ports_.back()->facts();
    for (const inet::Prefix& prefix : asked.addresses) {
      // RFC 8200 section 5.
      if (!prefix.address.is_v4() && facts.mtu < 1280) {
        return fail(
            fmt::format("port {}: its MTU is {}, IPv6 needs at least 1280", asked.spec, facts.mtu));
      }
    }
    for (const std::string& note : facts.notes) spdlog::info("port {}: {}", asked.spec, note);
  }
  return {};
}

Result<void> Daemon::make_arena() {
  const Plan& plan = budget_.plan;
  const int node = ports_.front()->facts().numa_node;
  // The engines' tables too are to lie near the workers.
  if (node >= 0 && numa_available() >= 0) numa_set_preferred(node);
  arena::Options options;
  options.content_bytes = uint64_t{plan.chunk_count} * options_.chunk_bytes;
  options.chunk_bytes = options_.chunk_bytes;
  options.workers = plan.engines;
  options.head_slots_per_worker = plan.head_slots;
  options.numa_node = node;
  options.hugepages =
      plan.hugepages_for_arena ? arena::Hugepages::automatic : arena::Hugepages::never;
  Result<arena::Arena> made = arena::Arena::create(options);
  if (!made) return fail(made.error().in("--cache " + control::format_size(plan.cache_bytes)));
  arena_.emplace(*std::move(made));
  spdlog::info("arena: {}", arena_->description());
  return {};
}

engine::Config Daemon::engine_config(size_t port, uint32_t worker) const {
  const control::PortOptions& asked = options_.ports[port];
  const nic::PortFacts& facts = ports_[port]->facts();
  engine::Config config = budget_.plan.engine;
  std::copy(facts.mac.begin(), facts.mac.end(), config.inet.mac.octets.begin());
  config.inet.mtu = facts.mtu;
  config.inet.vlan_id = asked.vlan.value_or(0);
  config.inet.ipv6 = false;
  for (const inet::Prefix& prefix : asked.addresses) {
    const bool added = config.inet.addresses.push_back(prefix);
    ASSERT(added);  // examine_ports() looked
    if (!prefix.address.is_v4()) config.inet.ipv6 = true;
  }
  config.inet.gateway4 = asked.gateway4.value_or(inet::Address());
  config.inet.gateway6 = asked.gateway6.value_or(inet::Address());
  config.inet.answers_neighbors = worker == 0;
  config.inet.key = random_key();
  const bool listens = config.tcp.ports.push_back(options_.http_port);
  ASSERT(listens);
  config.tcp.mtu = facts.mtu;
  config.tcp.congestion = congestion_of(options_.congestion);
  config.tcp.ecn = options_.ecn;
  config.tcp.pacing = options_.pacing;
  config.tcp.train_max_bytes = std::min(config.tcp.train_max_bytes, facts.train_max_bytes);
  config.tcp.key = random_key();
  config.tcp.fast_open_key = fast_open_key_;
  config.session.path_key = random_key();
  config.session.media_types = media_types_.get();
  return config;
}

void Daemon::make_engines() {
  const Plan& plan = budget_.plan;
  cells_.resize(plan.engines);
  for (size_t port = 0; port < ports_.size(); ++port) {
    for (uint32_t worker = 0; worker < plan.workers; ++worker) {
      Cell& made = cell(port, worker);
      const auto index = static_cast<uint32_t>(port * plan.workers + worker);
      made.pins = std::make_unique<content::ChunkPins>(plan.chunk_count, plan.head_slots);
      made.counters = std::make_unique<stats::Counters>();
      made.engine = std::make_unique<engine::Engine>(
          engine_config(port, worker), arena_->view(index), *made.pins, *made.counters);
    }
  }
}

Result<void> Daemon::start_ports() {
  const nic::SendRegion region{.base = arena_->region().data(),
                               .length_bytes = arena_->region().size(),
                               .page_bytes = arena_->page_bytes(),
                               .numa_node = arena_->numa_node()};
  ports_started_ = true;
  for (uint32_t worker = 0; worker < budget_.plan.workers; ++worker) {
    bells_.push_back(std::make_unique<nic::Doorbell>());
  }
  for (size_t port = 0; port < ports_.size(); ++port) {
    std::vector<nic::WorkerEnd> ends;
    for (uint32_t worker = 0; worker < budget_.plan.workers; ++worker) {
      Cell& each = cell(port, worker);
      const auto index = static_cast<uint32_t>(port * budget_.plan.workers + worker);
      ends.push_back({.view = arena_->view(index),
                      .pins = each.pins.get(),
                      .counters = each.counters.get(),
                      .lcore = eal_->lcore(worker),
                      .bell = bells_[worker].get()});
    }
    Result<void> started = ports_[port]->start(ends, {&region, 1});
    if (!started) return fail(started.error());
  }
  return {};
}

Result<void> Daemon::start_store() {
  std::vector<const content::ChunkPins*> uses;
  for (const Cell& each : cells_) uses.push_back(each.pins.get());
  disk::StoreThreadOptions options;
  options.store = budget_.plan.store;
  options.store.path_key = random_key();
  options.disk.root = options_.root;
  options.disk.content =
      arena_->region().first(size_t{arena_->chunk_count()} * arena_->chunk_bytes());
  if (budget_.plan.replica.enabled) {
    if (Result<void> done = prepare_replica(); !done) return done;
    uses.push_back(node_pins_.get());
    options.overlay = budget_.plan.replica.overlay;
    options.overlay->path_key = random_key();
    options.overlay_ring_capacity = replica_ring_capacity;
    options.node_waker = node_waker_.get();
  }
  options.uses = uses;
  options.ring_capacity = budget_.plan.ring_capacity;
  options.clock = clock_now;
  Result<std::unique_ptr<disk::StoreThread>> made = disk::StoreThread::create(options);
  if (!made) return fail(made.error());
  store_ = *std::move(made);
  spdlog::info("disk: {}", store_->description());
  store_->start();
  return {};
}

Result<void> Daemon::start_workers() {
  const bool adaptive = std::all_of(ports_.begin(), ports_.end(), [&](const auto& port) {
    return is_adaptive(options_.polling, port->facts());
  });
  for (uint32_t worker = 0; worker < budget_.plan.workers; ++worker) {
    WorkerOptions options;
    options.adaptive = adaptive;
    options.bell = bells_[worker].get();
    for (size_t port = 0; port < ports_.size(); ++port) {
      Cell& each = cell(port, worker);
      const auto index = static_cast<uint32_t>(port * budget_.plan.workers + worker);
      options.lanes.push_back({.engine = each.engine.get(),
                               .queue = ports_[port]->queue(worker),
                               .mailbox = &store_->mailbox(index),
                               .pins = each.pins.get(),
                               .counters = each.counters.get()});
      const uint32_t sleep_us = ports_[port]->facts().sleep_us_max;
      if (sleep_us > 0) {
        options.sleep_max = std::min(options.sleep_max, Duration::from_us(sleep_us));
      }
    }
    workers_.push_back(std::make_unique<Worker>(options));
    Result<void> launched = eal_->launch(worker, launch_worker, workers_.back().get());
    if (!launched) return fail(launched.error().in(fmt::format("worker {}", worker)));
    launched_.push_back(worker);
  }
  spdlog::info("workers: {} on cores {}, {} polling; clock: {}", workers_.size(),
               control::format_core_list(budget_.plan.cores), adaptive ? "adaptive" : "busy",
               clock_description());
  return {};
}

Result<void> Daemon::start_telemetry() {
  Running running;
  running.options = &options_;
  running.budget = &budget_;
  running.eal = &*eal_;
  running.arena = &*arena_;
  running.store = store_.get();
  running.replica = replica_.get();
  for (const auto& port : ports_) running.ports.push_back(port.get());
  for (const auto& worker : workers_) running.workers.push_back(worker.get());
  running.started = clock_now();
  running.begin_drain = [this] {
    const uint64_t one = 1;
    const ssize_t written = write(drain_ordered_, &one, sizeof one);
    if (written < 0 && errno != EAGAIN) spdlog::error("drain: {}", strerror(errno));
  };
  running.is_draining = [this] { return draining_.load(std::memory_order_relaxed); };
  Result<Telemetry> started = Telemetry::start(make_commands(running));
  if (!started) return fail(started.error());
  telemetry_.emplace(*std::move(started));
  return {};
}

void Daemon::log_ready() const {
  for (size_t i = 0; i < ports_.size(); ++i) {
    const nic::PortFacts& facts = ports_[i]->facts();
    spdlog::info("port {}: {} ({}), {} rx and {} tx queues, {} steering, MTU {}{}", facts.spec,
                 facts.device, facts.driver, facts.rx_queues, facts.tx_queues,
                 nic::steering_name(facts.steering), facts.mtu,
                 facts.interface.empty() ? "" : ", interface " + facts.interface);
    for (const inet::Prefix& prefix : options_.ports[i].addresses) {
      const wire::AddressText text = inet::format(prefix.address);
      const std::string host =
          prefix.address.is_v4() ? std::string(text.view()) : fmt::format("[{}]", text.view());
      const std::string port =
          options_.http_port == 80 ? "" : fmt::format(":{}", options_.http_port);
      spdlog::info("serving {} at http://{}{}/", options_.root, host, port);
    }
  }
  spdlog::info("ask it: sluicectl --instance {} stats", eal_->instance());
}

int Daemon::run() {
  PortWatch watch(ports_, workers_);
  while (!wait(PortWatch::interval)) watch.look();
  return drain();
}

bool Daemon::wait(Duration patience) {
  std::array<pollfd, 2> files{{{.fd = signals_, .events = POLLIN, .revents = 0},
                               {.fd = drain_ordered_, .events = POLLIN, .revents = 0}}};
  if (poll(files.data(), files.size(), static_cast<int>(patience.ms())) <= 0) return false;
  signalfd_siginfo signal{};
  if (read(signals_, &signal, sizeof signal) == sizeof signal) {
    spdlog::info("signal {} ({})", signal.ssi_signo, strsignal(static_cast<int>(signal.ssi_signo)));
    return true;
  }
  uint64_t orders = 0;
  const bool ordered = read(drain_ordered_, &orders, sizeof orders) == sizeof orders;
  // Ordered while draining already: nothing new.
  return ordered && !draining_.load(std::memory_order_relaxed);
}

int Daemon::drain() {
  spdlog::info(
      "draining: no new connections, running responses end (at most {} s; a signal ends it)",
      static_cast<double>(options_.drain_timeout.ms()) / 1000);
  draining_.store(true, std::memory_order_relaxed);
  for (const auto& worker : workers_) worker->begin_drain();
  const Instant until = clock_now() + options_.drain_timeout;
  while (!all_drained() && clock_now() < until) {
    if (wait(20_ms)) {
      spdlog::warn("ended before the drain was over");
      return exit_cut_short;
    }
  }
  if (!all_drained()) {
    spdlog::warn("the drain took too long: what is left is reset");
    for (const auto& worker : workers_) worker->abort_connections();
    const Instant give_up_at = clock_now() + abort_patience;
    while (!all_drained() && clock_now() < give_up_at && !wait(2_ms)) {
    }
  }
  spdlog::info("drained");
  return exit_ok;
}

bool Daemon::all_drained() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const auto& worker) { return worker->is_drained(); });
}

void Daemon::stop() {
  telemetry_.reset();
  for (const auto& worker : workers_) worker->stop();
  for (const uint32_t worker : launched_) eal_->join(worker);
  launched_.clear();
  if (replica_) replica_->stop();
  if (store_) store_->stop();
  if (!ports_started_) return;
  for (const auto& port : ports_) {
    const uint64_t left = port->stop(port_patience);
    if (left > 0) spdlog::warn("port {}: {} frames did not leave", port->facts().spec, left);
  }
  ports_started_ = false;
}

}  // namespace sluice::app
