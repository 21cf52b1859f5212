// sluice-mover-probe: moves pieces between two arenas, checks each, and says how fast; makes what
// goes wrong go wrong, and says how the link ended and whether anything was written afterwards.
//
//   sluice-mover-probe --listen HOST:PORT [--transport tcp|rdma]                  until it is ended
//   sluice-mover-probe --dial HOST:PORT [--transport ...] [--direction from|to|both] [--mib N]
//     [--write-bytes N] [--window N] [--lanes N] [--fault wrong-key|beyond|revoked] [--links N]
//     [--watch-s N] [--no-verify] [--local ADDRESS] [--device NAME] [--no-windows]
//     [--trust-windows] [--no-zero-copy]
//   --may-be-absent: an RDMA device may come later; what is dialled is dialled when it is usable
//
// One JSON object a line. Exit status of the dialler: 0: all came and was right; 3: a link ended
// early, or could not be made; 4: bytes were wrong, or written after the end; 1: cannot start.
#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "arena/arena.h"
#include "fetching.h"
#include "monotonic.h"
#include "probe_options.h"
#include "rdma/rdma.h"
#include "stream/stream.h"

namespace sluice::perf {
namespace {

constexpr std::array<const char*, 7> end_names{
    "closed_here",      "closed_by_peer", "unreachable", "receiver_not_ready",
    "protection_error", "device_error",   "malformed"};
constexpr uint32_t links_max = 16;

double cpu_s() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <typename... Arguments>
void say(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  fmt::print("{{{}}}\n", fmt::format(text, std::forward<Arguments>(arguments)...));
  std::fflush(stdout);
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + '"';
}

class Probe {
 public:
  Probe(const ProbeOptions& options, arena::Arena arena, std::unique_ptr<mover::Mover> mover)
      : options_(options),
        arena_(std::move(arena)),
        view_(arena_.view(0)),
        mover_(std::move(mover)) {}

  int run() {
    fill_sources(view_);
    say(R"("event":"ready","description":{},"listening":{},"arena":{})",
        quoted(mover_->description()), quoted(mover_->listening()), quoted(arena_.description()));
    if (!options_.dial.empty() && !options_.mover.may_be_absent) dial();
    while (!finished_) {
      replica::LinkEvent event;
      bool any = false;
      for (uint32_t i = 0; i < 64 && mover_->poll(event); ++i) {
        any = true;
        std::visit([this](const auto& each) { handle(each); }, event);
        tick();
      }
      for (std::string note; mover_->poll_note(note);) {
        say(R"("event":"note","text":{})", quoted(note));
      }
      tick();
      if (!any) sleep();
    }
    return status_;
  }

 private:
  struct Open {
    replica::LinkId link;
    std::unique_ptr<Fetching> fetching;
    bool told = false;
    double cpu_before = 0;
  };

  void dial() {
    mover_->submit(replica::Dial{
        .dial = 1, .transport = options_.transport, .address = std::string_view(options_.dial)});
  }

  void sleep() {
    if (!mover_->prepare_to_sleep()) return;
    pollfd watch{.fd = mover_->ready_fd(), .events = POLLIN, .revents = 0};
    ::poll(&watch, 1, 100);
  }

  Open* find(const replica::LinkId& link) {
    for (Open& each : open_) {
      if (each.fetching && each.link == link) return &each;
    }
    say(R"("event":"fault","text":"an event of a link that is not up")");
    status_ = 4;
    return nullptr;
  }

  void handle(const replica::LinkUp& event) {
    say(R"("event":"up","slot":{},"serial":{},"lanes":{},"write_bytes_max":{})", event.link.slot,
        event.link.serial, event.lanes, event.write_bytes_max);
    for (Open& each : open_) {
      if (each.fetching) continue;
      each = {event.link, std::make_unique<Fetching>(*mover_, view_, event), false, cpu_s()};
      if (!event.dialled) return;
      each.fetching->begin(
          {.dialler_fetches = options_.fetch,
           .listener_fetches = options_.give,
           .verify = options_.verify,
           .fault = options_.fault,
           .pieces = static_cast<uint32_t>((uint64_t{options_.mib} << 20) / options_.write_bytes),
           .write_bytes = options_.write_bytes,
           .window = options_.window});
      return;
    }
    mover_->submit(replica::Close{event.link});
  }
  void handle(const replica::DialFailed& event) {
    say(R"("event":"dial_failed","why":{})", quoted(event.why));
    status_ = 3;
    finished_ = true;
  }
  template <typename Event>
  void handle(const Event& event) {
    if (Open* open = find(event.link)) open->fetching->handle(event);
  }
  void handle(const replica::TransportState& event) {
    say(R"("event":"transport","usable":{},"why":{})", event.usable, quoted(event.why));
    if (event.usable && !options_.dial.empty()) dial();
  }
  void handle(const replica::Granted& event) {
    // By what this side knows of its own memory, not by what the mover says of itself.
    if (event.link.transport == replica::Transport::rdma) {
      const auto chunk = reinterpret_cast<uint64_t>(view_.chunks) +
                         uint64_t{view_.chunk_bytes} * (source_chunks + event.grant);
      granted_elsewhere_ += event.window.address == chunk ? 0u : 1u;
    }
    if (Open* open = find(event.link)) open->fetching->handle(event);
  }
  void handle(const replica::LinkDown& event) {
    Open* open = find(event.link);
    if (open == nullptr) return;
    if (!open->told) tell(*open, "incomplete");
    const char* reason = end_names[static_cast<size_t>(event.reason)];
    say(R"("event":"down","slot":{},"reason":"{}","waited_s":{:.3f})", event.link.slot, reason,
        closing_ ? static_cast<double>((monotonic_now() - *closing_).ns()) * 1e-9 : 0.0);
    const bool complete = open->told;
    open->fetching.reset();
    if (watch_until_) return;
    // From now on nobody may write there.
    paint();
    watch_until_ = monotonic_now() + Duration::from_s(options_.watch_s);
    closing_.reset();
    if (!complete && !options_.dial.empty()) status_ = status_ == 0 ? 3 : status_;
  }

  [[nodiscard]] MutableBytes landings() const {
    const uint32_t chunks = view_.chunk_count - source_chunks;
    return {view_.chunks + size_t{source_chunks} * view_.chunk_bytes,
            size_t{chunks} * view_.chunk_bytes};
  }
  void paint() { std::memset(landings().data(), 0xc3, landings().size()); }
  [[nodiscard]] bool is_painted() const {
    const MutableBytes all = landings();
    return all[0] == std::byte{0xc3} && std::memcmp(&all[0], &all[1], all.size() - 1) == 0;
  }

  void tell(Open& open, const char* how) {
    const Fetching& fetching = *open.fetching;
    const double seconds = static_cast<double>((monotonic_now() - fetching.began()).ns()) * 1e-9;
    const auto gbit = [&](uint64_t bytes) {
      return fetching.has_begun() ? static_cast<double>(bytes) * 8e-9 / seconds : 0.0;
    };
    say(R"("event":"{}","fetched_bytes":{},"given_bytes":{},"seconds":{:.3f},)"
        R"("fetched_gbit_s":{:.3f},"given_gbit_s":{:.3f},"wrong":{},"cpu_s":{:.3f},)"
        R"("zero_copy_bytes":{},"drained_bytes":{},"taken_bytes":{},"placed_bytes":{},)"
        R"("copied_bytes":{},"granted_elsewhere":{},"arena_bytes":{})",
        how, fetching.bytes_fetched(), fetching.bytes_given(), seconds,
        gbit(fetching.bytes_fetched()), gbit(fetching.bytes_given()), fetching.wrong(),
        cpu_s() - open.cpu_before, mover_->counts().bytes_zero_copy, mover_->counts().bytes_drained,
        mover_->counts().bytes_taken, mover_->counts().bytes_placed, mover_->counts().bytes_copied,
        granted_elsewhere_, arena_.region().size());
    if (fetching.wrong() > 0) status_ = 4;
  }

  void tick() {
    for (Open& each : open_) {
      if (!each.fetching || each.told || !each.fetching->is_done()) continue;
      each.told = true;
      tell(each, "done");
      if (options_.dial.empty()) continue;
      closing_ = monotonic_now();
      mover_->submit(replica::Close{each.link});
    }
    if (!watch_until_) return;
    const bool busy = std::any_of(open_.begin(), open_.end(),
                                  [](const Open& each) { return each.fetching != nullptr; });
    if (!busy && monotonic_now() < *watch_until_) return;
    watch_until_.reset();
    if (!busy) {  // else another link writes there by now
      const bool whole = is_painted();
      say(R"("event":"watched","written_after_the_end":{})", !whole);
      if (!whole) status_ = 4;
    }
    if (options_.dial.empty()) return;
    if (++links_ < options_.links && status_ == 0) {
      dial();
    } else {
      finished_ = true;
    }
  }

  ProbeOptions options_;
  arena::Arena arena_;
  content::ArenaView view_;
  std::unique_ptr<mover::Mover> mover_;
  std::array<Open, links_max> open_;
  std::optional<Instant> watch_until_;
  std::optional<Instant> closing_;
  uint32_t links_ = 0;
  uint32_t granted_elsewhere_ = 0;  // windows that are not the granted chunk's own memory
  int status_ = 0;
  bool finished_ = false;
};

int run(int count, char** words) {
  const auto failed = [](const Error& error) {
    fmt::print(stderr, "sluice-mover-probe: {}\n", error.message);
    return 1;
  };
  Result<ProbeOptions> options = parse_options(count, words);
  if (!options) return failed(options.error());
  const uint32_t chunk_bytes = std::max(options->write_bytes, 1u << 20);
  // A listener does not know what window it will be asked for.
  const uint32_t window = options->dial.empty() ? replica::grants_max : options->window;
  Result<arena::Arena> arena =
      arena::Arena::create({.content_bytes = uint64_t{source_chunks + window} * chunk_bytes,
                            .chunk_bytes = chunk_bytes});
  if (!arena) return failed(arena.error());
  options->mover.arena = arena->view(0);
  options->mover.region = arena->region();
  options->mover.page_bytes = arena->page_bytes();
  Result<std::unique_ptr<mover::Mover>> mover = options->transport == replica::Transport::tcp
                                                    ? stream::open(options->mover)
                                                    : rdma::open(options->mover);
  if (!mover) return failed(mover.error());
  Probe probe(*options, std::move(*arena), std::move(*mover));
  return probe.run();
}

}  // namespace
}  // namespace sluice::perf

int main(int count, char** words) {
  return sluice::perf::run(count, words);
}
