// Script: a scripted conversation with the TCP stack, in the manner of packetdrill.
//
// One step a line. A time is relative to the step before; `+a~+b` allows a range.
//
//   // a comment                          config time_wait 1.5      (before the first step)
//   +0.010 < S 0:0(0) win 65535 <mss 1460,sackOK,wscale 7>          the peer sends
//   +0     > S. 0:0(0) ack 1 <mss 1460,sackOK,wscale 7>             the stack must send
//   +0     >> . 1:14481(14480) ack 1                                ... as a run of segments
//   +0     >| . 1:1(0) ack 9001                                     the last of those sent so far
//   +0     > [ect0] . 1:1001(1000) ack 1                            ... marked ECT(0), or [noecn]
//   +0.1   << . 1:9001(9000) ack 1 win 500                          the peer sends a run
//   +0     send 100000                                              the application acts
//   +0.2   expect no packet                                         nothing since the last match
//
// Flags: S F R P . (ACK) E (ECE) W (CWR) U; `P` in an expectation asks for PSH, its absence asks
// for nothing. Sequence numbers are relative to each side's initial one, window values as on the
// wire.
// `<...>` in an expectation lists every option there must be; without it none are looked at.
// `FO` asks for a Fast Open cookie, `FO *` expects one, `FO given` is the last that came, `FO
// forged` another. `TS val V ecr E`: the stack's own values count from its first one. `*` in an
// expectation matches any sequence range, acknowledgment, window scale or timestamp. Actions and
// configuration: actions.cc, staging.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/time.h"

namespace sluice::packet {

struct TimestampSpec {
  std::optional<uint32_t> value;  // nothing: any
  std::optional<uint32_t> echo;
};

struct OptionsSpec {
  std::optional<uint16_t> mss;
  std::optional<uint8_t> window_scale;
  bool any_window_scale = false;  // there must be one
  bool sack_permitted = false;
  std::optional<TimestampSpec> timestamps;
  std::optional<std::string> fast_open;  // "" asks for a cookie; "given", "forged"; "*" expects one
  std::vector<std::pair<uint32_t, uint32_t>> sack;
};

struct PacketSpec {
  uint8_t flags = 0;  // wire::tcp_flag
  uint32_t begin = 0;
  uint32_t length = 0;  // payload bytes
  std::optional<uint32_t> ack;
  std::optional<uint32_t> window;
  std::optional<OptionsSpec> options;
  bool any_sequence = false;
  bool any_ack = false;
  bool as_train = false;           // `>>`, `<<`
  bool last_of_all = false;        // `>|`
  bool congestion_marked = false;  // CE in the IP header
  std::optional<uint8_t> ecn;      // of what the stack sends
};

struct Inbound {
  PacketSpec packet;
};
struct Outbound {
  PacketSpec packet;
};
struct Action {
  std::vector<std::string> words;
};

struct Step {
  int line = 0;
  std::string text;
  Duration earliest;  // after the step before
  Duration latest;
  std::variant<Inbound, Outbound, Action> what;
};

struct Script {
  std::vector<std::vector<std::string>> config;
  std::vector<Step> steps;
};

/// Returns: false with a message of the form "line 7: ..." in `error`.
[[nodiscard]] bool parse_script(const std::string& text, Script& out, std::string& error);

/// One packet, "R 100:100(0) win 0".
[[nodiscard]] bool parse_packet_text(const std::string& text, PacketSpec& out);

/// A packet in the script's notation.
[[nodiscard]] std::string to_text(const PacketSpec& packet);

}  // namespace sluice::packet
