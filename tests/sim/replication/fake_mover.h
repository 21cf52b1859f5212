// FakeMover: the movers of all nodes of a simulated cluster, in one process under one virtual clock
// and one seed. Really moves bytes, from one node's arena into another's, by the rules of
// replica/mover.h, and injects what goes wrong with real ones.
//
//   post()  ->  channels of the link, each in order:  control | data lane 0 | data lane 1
//   a Write: the NIC reads the source -> half of it is in the peer's memory -> all of it; Landed
//
// Enforces what a NIC does: a write outside what is granted at that moment ends the link at both
// ends and reaches no memory. Checks what a Node promises (violation()): no number used twice, no
// more frames on their way than the receiver has posted, no landing place granted twice at a time.
//
// An end of a link that failed is `ending` for a while: writes of the peer may still land. Only
// with LinkDown are they over, as with a queue pair that is drained and destroyed. The ends of a
// link fail independently: a peer that is cut off is told nothing.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "content/arena_view.h"
#include "replica/mover.h"

namespace sluice::sim {

/// What goes wrong by itself. Chances are for each million of the things named.
struct MoverFaults {
  uint32_t frame_corrupt_ppm = 0;  // frames with a byte changed on the way
  uint32_t write_corrupt_ppm = 0;  // writes, likewise
  uint32_t wrong_key_ppm = 0;      // writes that name another key than they were told
  uint32_t error_ppm = 0;          // posts that end the link
  uint32_t silent_ppm = 0;         // posts after which the link carries nothing more, untold
  uint32_t stall_ppm = 0;          // posts after which the link carries nothing for a while
  int64_t stall_ns_max = 1'000'000'000;
};

struct MoverOptions {
  uint64_t seed = 1;
  int64_t latency_ns = 5'000;  // one way
  int64_t jitter_ns = 0;
  int64_t grant_ns_max = 2'000;
  int64_t fence_ns_max = 2'000;            // Revoke to Revoked
  int64_t drain_ns_max = 50'000;           // an error to LinkDown
  int64_t rdma_patience_ns = 500'000'000;  // of a NIC that hears nothing: unreachable
  int64_t tcp_patience_ns = 20'000'000'000;
  int64_t dial_patience_ns = 1'000'000'000;
  int64_t rdma_dial_ns = 0;  // more than TCP takes: addresses, routes, several queue pairs
  uint32_t lanes = 2;
  uint32_t write_bytes_max = 4u << 20;
  MoverFaults faults;
};

class FakeMover {
 public:
  using HostIndex = uint32_t;

  explicit FakeMover(const MoverOptions& options) : options_(options), prng_(options.seed) {}

  // Hosts
  [[nodiscard]] HostIndex add_host(const std::string& address);
  /// A process starts: it listens, and its links write into `arena`.
  void start(HostIndex host, const content::ArenaView& arena);
  /// It is gone, and its memory with it. Silently: as with its power, peers are told nothing.
  void kill(HostIndex host, bool silently);
  /// Its process does nothing (SIGSTOP), but its NIC goes on.
  void set_stopped(HostIndex host, bool stopped) { hosts_[host].stopped = stopped; }
  /// The device comes and goes.
  void set_rdma(HostIndex host, bool usable);
  /// Nothing passes between the two.
  void set_cut(HostIndex a, HostIndex b, bool cut);
  /// Each way. 0: no limit.
  void set_rate(HostIndex host, uint64_t bytes_per_s) { hosts_[host].bytes_per_s = bytes_per_s; }
  /// Every link between the two ends so, at both ends.
  void end_links(HostIndex a, HostIndex b, replica::LinkEnd reason);
  /// Links from `from` to `to` end in the middle of the n-th write from now (1: the next).
  void end_at_write(HostIndex from, HostIndex to, uint32_t n) { end_at_write_[{from, to}] = n; }
  void set_faults(const MoverFaults& faults) { options_.faults = faults; }

  // The Node's side
  void post(HostIndex host, const replica::Post& post);
  /// Returns false when there is nothing to tell.
  [[nodiscard]] bool poll(HostIndex host, replica::LinkEvent& out);
  [[nodiscard]] bool has_events(HostIndex host) const { return !hosts_[host].inbox.empty(); }

  // Time
  void advance(int64_t now_ns);
  [[nodiscard]] int64_t next_ns() const {
    return events_.empty() ? INT64_MAX : events_.begin()->first;
  }

  // Checks
  /// What a Node did that it may not; empty when all is well.
  [[nodiscard]] const std::string& violation() const { return violation_; }
  /// Called before bytes of a peer reach this memory of a host.
  void set_on_landing(std::function<void(HostIndex, const content::Extent&)> call) {
    on_landing_ = std::move(call);
  }
  /// Where peers may write into this host's arena, as far as its Node knows.
  [[nodiscard]] std::vector<content::Extent> granted(HostIndex host) const;
  /// What is being read out of this host's arena, as far as its Node knows.
  [[nodiscard]] std::vector<content::Extent> writing(HostIndex host) const;
  [[nodiscard]] uint32_t writes(HostIndex host) const { return hosts_[host].writes; }
  [[nodiscard]] uint32_t links_up(HostIndex host, replica::Transport transport) const;
  [[nodiscard]] uint64_t bytes_landed(HostIndex from, HostIndex to) const;
  [[nodiscard]] uint64_t bytes_landed(replica::Transport transport) const {
    return landed_by_transport_[static_cast<size_t>(transport)];
  }
  [[nodiscard]] uint64_t faults_injected() const { return faults_injected_; }

 private:
  static constexpr uint32_t channels_max = 9;

  enum class GrantState : uint8_t { free, asked, live, revoking, fenced };
  struct GrantEntry {
    GrantState state = GrantState::free;
    content::Extent extent;
    replica::Window window;
  };
  struct Link;
  using LinkPointer = std::shared_ptr<Link>;
  /// What happens at the other end. Told its link: one that kept it would own itself while held up.
  using Arrival = std::function<void(const LinkPointer&)>;
  enum class EndState : uint8_t { up, ending, down };
  struct End {
    HostIndex host = 0;
    replica::LinkId id;
    EndState state = EndState::up;
    bool told_down = false;  // the Node has polled LinkDown
    replica::LinkEnd reason = replica::LinkEnd::closed_here;
    std::array<GrantEntry, replica::grants_max> grants;
    std::map<uint32_t, content::Extent> writes;           // not told as done
    uint32_t frames_unread = 0;                           // arrived and on the way
    std::array<int64_t, channels_max> channel_free_ns{};  // of what this end sends
    int64_t table_free_ns = 0;                            // grants and fences are made in order
    // What cannot pass now, in order; and since when.
    std::deque<Arrival> held;
    int64_t held_since_ns = 0;
    int64_t stalled_until_ns = 0;
    bool silent = false;
  };
  struct Link {
    std::array<End, 2> ends;
    replica::Transport transport = replica::Transport::tcp;
  };
  struct Where {
    LinkPointer link;
    uint32_t side = 0;
  };
  struct Host {
    std::string address;
    content::ArenaView arena;
    bool alive = false;
    bool stopped = false;
    bool rdma = true;
    uint64_t life = 0;  // which process
    uint64_t bytes_per_s = 0;
    int64_t tx_free_ns = 0;
    int64_t rx_free_ns = 0;
    uint32_t writes = 0;  // not told as done
    std::deque<replica::LinkEvent> inbox;
    std::map<replica::LinkId, Where> links;
    std::set<std::pair<uint32_t, replica::Transport>> dials;
    std::map<std::pair<replica::Transport, uint32_t>, uint32_t> serials;  // used so far, by slot
  };

  void carry_out(HostIndex host, const replica::Dial& dial);
  void carry_out(HostIndex host, const replica::SendFrame& send);
  void carry_out(HostIndex host, const replica::Grant& grant);
  void carry_out(HostIndex host, const replica::Revoke& revoke);
  void carry_out(HostIndex host, const replica::Write& write);
  void carry_out(HostIndex host, const replica::Close& close);

  void connect(HostIndex from, HostIndex to, uint32_t dial, replica::Transport transport);
  [[nodiscard]] bool make_end(Link& link, uint32_t side, HostIndex host);
  [[nodiscard]] Where find(HostIndex host, const replica::LinkId& id, const char* what);
  /// Runs it once it can pass from this end to the other.
  void pass(const LinkPointer& link, uint32_t from, Arrival arrive);
  void let_held_pass(const LinkPointer& link, uint32_t from);
  [[nodiscard]] bool is_blocked(const Link& link, uint32_t from) const;
  void misbehave(const LinkPointer& link, uint32_t side);
  struct Moving {
    std::vector<std::byte> bytes;  // as the sender's NIC read them
    bool begun = false;            // some are in the peer's memory
  };
  void land(const LinkPointer& link, uint32_t from, const replica::Write& write, Moving& moving,
            bool whole);
  void tell_done(const LinkPointer& link, uint32_t from, uint32_t number);
  void end(const LinkPointer& link, uint32_t side, replica::LinkEnd reason);
  /// The other end hears of it, if anything passes.
  void end_peer(const LinkPointer& link, uint32_t side, replica::LinkEnd reason);
  void find_dead(const LinkPointer& link, uint32_t side);
  void tell(HostIndex host, uint64_t life, const replica::LinkEvent& event);
  void tell_end(const LinkPointer& link, uint32_t side, const replica::LinkEvent& event);
  void handle_told(HostIndex host, const replica::LinkEvent& event);
  void at(int64_t due_ns, std::function<void()> call) { events_.emplace(due_ns, std::move(call)); }
  [[nodiscard]] int64_t soon(int64_t ns_max) {
    return now_ns_ + 1 + static_cast<int64_t>(prng_.below(static_cast<uint64_t>(ns_max) + 1));
  }
  [[nodiscard]] bool happens(uint32_t ppm) { return ppm > 0 && prng_.chance(ppm, 1'000'000); }
  [[nodiscard]] bool is_cut(HostIndex a, HostIndex b) const {
    return cuts_.contains({std::min(a, b), std::max(a, b)});
  }
  void violate(HostIndex host, const std::string& what);

  MoverOptions options_;
  Prng prng_;
  int64_t now_ns_ = 0;
  std::deque<Host> hosts_;
  std::multimap<int64_t, std::function<void()>> events_;
  std::set<std::pair<HostIndex, HostIndex>> cuts_;
  std::map<std::pair<HostIndex, HostIndex>, uint32_t> end_at_write_;
  std::map<std::pair<HostIndex, HostIndex>, uint64_t> landed_;
  std::array<uint64_t, replica::transport_count> landed_by_transport_{};
  uint64_t faults_injected_ = 0;
  uint32_t next_key_ = 1;
  std::function<void(HostIndex, const content::Extent&)> on_landing_;
  std::string violation_;
};

}  // namespace sluice::sim
