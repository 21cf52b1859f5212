#include "simulation.h"

namespace sluice::store {

Config Simulation::draw(Prng& random) {
  Config config;
  config.workers = 1 + static_cast<uint32_t>(random.below(4));
  config.chunk_count =
      1 + static_cast<uint32_t>(random.chance(1, 3) ? random.below(4) : random.below(40));
  config.chunk_bytes = chunk_bytes;
  config.max_objects = 1 + static_cast<uint32_t>(random.below(30));
  config.max_open_files = 1 + static_cast<uint32_t>(random.below(12));
  config.lookups_max = 1 + static_cast<uint32_t>(random.below(8));
  config.needs_max = 1 + static_cast<uint32_t>(random.below(8));
  config.reads_in_flight = 1 + static_cast<uint32_t>(random.below(8));
  config.opens_in_flight = 1 + static_cast<uint32_t>(random.below(4));
  config.fresh_for = Duration::from_ms(static_cast<int64_t>(random.below(300)));
  config.file_idle_max = Duration::from_ms(100 + static_cast<int64_t>(random.below(1000)));
  config.last_holds = random.chance(1, 3);
  config.path_key = {random.next(), random.next()};
  return config;
}

Simulation::Simulation(const SimulationOptions& options)
    : options_(options), random_(options.seed), config_(draw(random_)) {
  memory_.resize(size_t{config_.chunk_count} * chunk_bytes);
  arena_ = {memory_.data(), config_.chunk_count, chunk_bytes, nullptr, 0};
  for (uint32_t i = 0; i < config_.workers; ++i) {
    pins_.push_back(std::make_unique<content::ChunkPins>(config_.chunk_count, 0));
    uses_.push_back(pins_.back().get());
  }
  store_ = std::make_unique<Store>(config_, uses_, counters);
  disk_ = std::make_unique<FakeDisk>(random_.next(), config_.max_open_files, arena_);
  disk_->behaviour.latency_us_max = random_.chance(1, 4) ? 100'000 : 3'000;
  if (random_.chance(1, 2)) {
    disk_->behaviour.open_error_per_mille = 50;
    disk_->behaviour.read_error_per_mille = 50;
  }
  if (random_.chance(1, 2)) disk_->behaviour.short_read_per_mille = 300;
  disk_->on_read = [this](const content::Extent& extent) {
    for (const FakeWorker& worker : workers_) {
      ASSERT_FALSE(worker.may_use(extent)) << "wrote into a chunk that a worker may use";
    }
  };
  for (uint32_t i = 0; i < config_.workers; ++i) {
    workers_.emplace_back(random_.next(), *pins_[i], arena_);
    workers_[i].lookups_max = config_.lookups_max + 2;  // beyond: busy
    workers_[i].needs_max = config_.needs_max + 2;      // beyond: refused
  }
  disk_->advance(now_);
  const uint64_t files = 1 + random_.below(20);
  for (uint64_t i = 0; i < files; ++i) {
    paths_.push_back("d/" + std::string(random_.below(150), 'x') + std::to_string(i));
    if (random_.chance(1, 12)) continue;  // a name with nothing behind it
    const FileKind kind = random_.chance(1, 12)   ? FileKind::directory
                          : random_.chance(1, 12) ? FileKind::other
                                                  : FileKind::regular;
    disk_->create(paths_.back(), random_.below(5 * chunk_bytes), kind);
  }
  watched_ = random_.chance(1, 2);
  now_ = now_ + 1_s;
}

void Simulation::change_world() {
  // Often the same file again, within one tick of the time stamps.
  if (random_.chance(1, 2)) changing_ = random_.below(paths_.size());
  const std::string& path = paths_[changing_];
  switch (random_.below(6)) {
    case 0:
      disk_->create(path, random_.below(5 * chunk_bytes));
      break;
    case 1:
      disk_->unlink(path);
      break;
    case 2:
      disk_->truncate(path, random_.below(5 * chunk_bytes));
      break;
    default:
      disk_->rewrite(path, static_cast<uint32_t>(random_.below(20)),
                     1 + static_cast<uint32_t>(random_.below(20)));
  }
  if (!watched_) return;
  if (random_.chance(1, 8)) {
    store_->handle_change_anywhere(now_);
  } else {
    store_->handle_change(now_, path);
  }
}

void Simulation::exchange() {
  IoRequest request;
  while (store_->poll_io(now_, request)) disk_->submit(request);
  ASSERT_LE(disk_->open_files(), config_.max_open_files);
  ASSERT_LE(disk_->in_flight(), config_.reads_in_flight + config_.opens_in_flight);
  for (uint32_t i = 0; i < config_.workers; ++i) {
    content::ToWorker message;
    while ((resting_ || random_.chance(3, 4)) && store_->poll_message(i, message)) {
      workers_[i].handle(now_, message, *disk_);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

void Simulation::turn() {
  disk_->advance(now_);
  for (uint32_t i = 0; i < config_.workers; ++i) {
    content::ToStore message;
    for (uint32_t n = 0; n < 3 && store_->can_take(i); ++n) {
      if (workers_[i].act(now_, paths_, message)) store_->handle_message(now_, i, message);
    }
    while (store_->can_take(i) && workers_[i].poll_retired(now_, message, resting_)) {
      store_->handle_message(now_, i, message);
    }
  }
  IoCompletion completion;
  while (disk_->poll_completion(completion)) store_->handle_completion(now_, completion);
  if (store_->next_timeout() <= now_) store_->handle_timeout(now_);
  exchange();
}

void Simulation::run() {
  const bool changes = random_.chance(3, 4);
  for (uint32_t step = 0; step < options_.steps; ++step) {
    if (changes && random_.chance(1, 10)) change_world();
    turn();
    if (testing::Test::HasFatalFailure()) return;
    now_ = now_ + Duration::from_us(static_cast<int64_t>(random_.below(4'000)));
    if (random_.chance(1, 200)) now_ = now_ + 700_ms;
  }
  come_to_rest();
}

void Simulation::come_to_rest() {
  resting_ = true;
  for (FakeWorker& worker : workers_) worker.retire_from_work();
  for (uint32_t step = 0; step < 5'000; ++step) {
    turn();
    if (testing::Test::HasFatalFailure()) return;
    size_t open = 0;
    for (const FakeWorker& worker : workers_) open += worker.open_questions();
    if (open == 0 && disk_->in_flight() == 0) break;
    now_ = now_ + 1_ms;
  }
  for (const FakeWorker& worker : workers_) {
    ASSERT_EQ(worker.open_questions(), 0u) << "a question without an answer";
    ready += worker.ready;
    stale += worker.stale;
    io_errors += worker.io_errors;
    declined += worker.declined;
    revalidates += worker.revalidates;
  }
  ASSERT_EQ(store_->io_in_flight(), 0u);
  for (uint32_t i = 0; i < 10; ++i) {
    turn();
    now_ = now_ + 1_s;  // idle files are closed
  }
  ASSERT_EQ(store_->chunks(ChunkState::filling), 0u);
  ASSERT_EQ(store_->chunks(ChunkState::retiring), 0u);
  ASSERT_EQ(store_->chunks(ChunkState::free) + store_->chunks(ChunkState::ready),
            config_.chunk_count);
  ASSERT_EQ(store_->open_files(), 0u);
  ASSERT_EQ(disk_->open_files(), 0u);
  ASSERT_EQ(store_->next_timeout(), Instant::never());
}

}  // namespace sluice::store
