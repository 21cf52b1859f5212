// sluice-link: a link between network namespaces with rate, delay, queue, loss and reordering, in
// user space.
//
//   sluice-link --server SPACE:TAP [--server ...] --client SPACE:TAP [--client ...] [--realtime]
//
// makes the taps, says "ready", and reads one command a line until the end of its input:
//
//   down KEY=VALUE...   the direction from the servers to the clients, from now on
//   up KEY=VALUE...     the other direction. Keys: rate (bit/s), delay_us, queue (bytes), ecn
//   (bytes), loss, burst
//                       (frames), reorder, reorder_us, seed; path.h says what they mean
//   counters            one line of JSON
//
// Each answer is one line. The counters are printed once more at the end. Exit status 1: the taps
// could not be made; 3: frames longer than the MTU were seen (an offload is on), so nothing that
// was measured counts.
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "link.h"
#include "monotonic.h"

namespace sluice::perf {

namespace {

Result<PathOptions> parse_options(std::istringstream& words) {
  std::map<std::string, double> values = {{"rate", 0},    {"delay_us", 0},   {"queue", 1.5e6},
                                          {"ecn", 0},     {"loss", 0},       {"burst", 1},
                                          {"reorder", 0}, {"reorder_us", 0}, {"seed", 1}};
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    const auto known = values.find(word.substr(0, equals));
    if (equals == std::string::npos || known == values.end()) return fail("what is " + word + "?");
    char* end = nullptr;
    known->second = std::strtod(word.c_str() + equals + 1, &end);
    if (*end != '\0' || end == word.c_str() + equals + 1) return fail(word + " is no number");
  }
  const auto whole = [&](const char* key) { return static_cast<uint64_t>(values[key]); };
  const auto time = [&](const char* key) {
    return Duration::from_ns(static_cast<int64_t>(values[key] * 1000));
  };
  return PathOptions{.rate_bits_per_s = whole("rate"),
                     .delay = time("delay_us"),
                     .queue_bytes = whole("queue"),
                     .ecn_bytes = whole("ecn"),
                     .loss = values["loss"],
                     .burst_frames = values["burst"],
                     .reorder = values["reorder"],
                     .reorder_by = time("reorder_us"),
                     .seed = whole("seed")};
}

std::string json(const PathCounters& c) {
  return fmt::format(
      R"({{"offered":{},"offered_bytes":{},"delivered":{},"delivered_bytes":{},"dropped_queue":{},)"
      R"("dropped_loss":{},"dropped_pool":{},"marked":{},"reordered":{},"queue_bytes_peak":{},)"
      R"("late_peak_us":{},"late_1ms":{}}})",
      c.offered, c.offered_bytes, c.delivered, c.delivered_bytes, c.dropped_queue, c.dropped_loss,
      c.dropped_pool, c.marked, c.reordered, c.queue_bytes_peak, c.late_peak.us(), c.late_1ms);
}

std::string json(const Link& link) {
  return fmt::format(R"({{"down":{},"up":{},"oversize":{},"not_written":{}}})",
                     json(link.path(Side::server).counters()),
                     json(link.path(Side::client).counters()), link.counters().oversize,
                     link.counters().not_written);
}

std::string obey(Link& link, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  if (verb == "counters") return json(link);
  if (verb != "down" && verb != "up") return "error: what is " + verb + "?";
  const Result<PathOptions> options = parse_options(words);
  if (!options) return "error: " + options.error().message;
  link.configure(verb == "down" ? Side::server : Side::client, *options);
  return "ok";
}

void say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

/// Reads commands. Returns: false at the end of the input.
bool read_commands(Link& link, std::string& pending) {
  char buffer[4096];
  const ssize_t count = read(STDIN_FILENO, buffer, sizeof(buffer));
  if (count <= 0) return count < 0 && errno == EINTR;
  pending.append(buffer, static_cast<size_t>(count));
  for (size_t end = pending.find('\n'); end != std::string::npos; end = pending.find('\n')) {
    say(obey(link, pending.substr(0, end)));
    pending.erase(0, end + 1);
  }
  return true;
}

void run(Link& link) {
  std::vector<pollfd> watched = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0}};
  for (const int descriptor : link.descriptors()) {
    watched.push_back({.fd = descriptor, .events = POLLIN, .revents = 0});
  }
  std::string pending;
  for (;;) {
    const Instant next = link.turn(monotonic_now());
    constexpr Duration wait_max = Duration::from_ms(100);
    const Duration wait = std::min(std::max(next - monotonic_now(), Duration{}), wait_max);
    const timespec timeout{.tv_sec = 0, .tv_nsec = next.is_never() ? wait_max.ns() : wait.ns()};
    if (ppoll(watched.data(), watched.size(), &timeout, nullptr) < 0 && errno != EINTR) return;
    if ((watched[0].revents & (POLLIN | POLLHUP)) != 0 && !read_commands(link, pending)) return;
  }
}

Result<void> add_tap(Link& link, Side side, const std::string& where) {
  const size_t colon = where.find(':');
  if (colon == std::string::npos) return fail("SPACE:TAP, not " + where);
  Result<Tap> tap = Tap::open(where.substr(0, colon), where.substr(colon + 1));
  if (!tap) return fail(tap.error());
  link.add(side, std::move(*tap));
  return {};
}

void become_realtime() {
  const sched_param priority{.sched_priority = 10};
  if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0) {
    std::fprintf(stderr, "sluice-link: not realtime: %s\n", std::strerror(errno));
  }
}

int main(int count, char** words) {
  prctl(PR_SET_TIMERSLACK, 1UL);  // nanosecond: due times are kept to some microseconds
  Link link;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    Result<void> done;
    if (word == "--realtime") {
      become_realtime();
    } else if ((word == "--server" || word == "--client") && i + 1 < count) {
      done = add_tap(link, word == "--server" ? Side::server : Side::client, words[++i]);
    } else {
      done = fail("what is " + word + "?");
    }
    if (!done) {
      std::fprintf(stderr, "sluice-link: %s\n", done.error().message.c_str());
      return 1;
    }
  }
  say("ready");
  run(link);
  say(json(link));
  return link.counters().oversize == 0 ? 0 : 3;
}

}  // namespace

}  // namespace sluice::perf

int main(int count, char** words) {
  return sluice::perf::main(count, words);
}
