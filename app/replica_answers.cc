#include "replica_answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace sluice::app {
namespace {

using What = ReplicaAsk::What;
using replica::NodeId;
using replica::PublishState;

// The replica's thread looks at questions every turn.
constexpr Duration patience = 2_s;
// A page fits into an answer of 16 KiB with room to spare.
constexpr size_t page_bytes_max = 10'000;
// DPDK's telemetry cuts strings at 128 bytes.
constexpr size_t text_bytes_max = 120;

Json error_of(std::string_view why) {
  return {{"error", std::string(why)}};
}

std::string hex(uint64_t value) {
  return fmt::format("{:016x}", value);
}

std::string generation_text(const replica::GenerationId& generation) {
  return generation.is_none() ? "" : hex(generation.number) + "-" + hex(generation.publisher.value);
}

// As in a URL: DPDK's telemetry escapes nothing. In parts where it is too long for one string.
Json path_json(std::string_view path) {
  std::string text;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte > 0x20 && byte < 0x7f && c != '"' && c != '\\' && c != '%';
    text += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  if (text.size() <= text_bytes_max) return text;
  Json parts = Json::array();
  for (size_t at = 0; at < text.size(); at += text_bytes_max) {
    parts.push_back(text.substr(at, text_bytes_max));
  }
  return parts;
}

std::string_view state_name(PublishState state) {
  switch (state) {
    case PublishState::ingesting:
      return "ingesting";
    case PublishState::copying:
      return "copying";
    case PublishState::committing:
      return "committing";
    case PublishState::published:
      return "published";
    case PublishState::degraded:
      return "degraded";
    case PublishState::failed:
      return "failed";
  }
  return "?";
}

// Names of nodes instead of their numbers, as far as they are known.
class Names {
 public:
  Names(const replica::NodeConfig& self, const std::vector<replica::PeerRow>& peers)
      : self_(self), peers_(peers) {}
  [[nodiscard]] std::string of(NodeId node) const {
    if (node == self_.self) return self_.name;
    for (const replica::PeerRow& peer : peers_) {
      if (peer.node == node && !peer.name.empty()) return peer.name;
    }
    return hex(node.value);
  }
  [[nodiscard]] std::string of(const std::vector<NodeId>& nodes) const {
    std::string out;
    for (const NodeId node : nodes) out += (out.empty() ? "" : " ") + of(node);
    return out;
  }

 private:
  const replica::NodeConfig& self_;
  const std::vector<replica::PeerRow>& peers_;
};

class Answers {
 public:
  explicit Answers(ReplicaThread* thread) : thread_(thread) {}

  // One question, and what to make of its answer.
  template <typename Make>
  [[nodiscard]] Json ask(const ReplicaAsk& question, const Make& make) const {
    if (thread_ == nullptr) return error_of("replication is off: there is no --node-name");
    ReplicaAnswer answer;
    if (!thread_->ask(question, patience, answer)) {
      return error_of("the replica's thread did not answer in time");
    }
    return make(answer);
  }

  [[nodiscard]] std::optional<Json> publish(std::string_view parameters) const {
    unsigned copies = 0;
    const auto [end, error] =
        std::from_chars(parameters.data(), parameters.data() + parameters.size(), copies);
    const auto used = static_cast<size_t>(end - parameters.data());
    if (error != std::errc() || used >= parameters.size() || parameters[used] != ',') {
      return std::nullopt;
    }
    if (copies < 1 || copies > replica::holders_max) {
      return error_of(fmt::format("1 to {} copies, please", replica::holders_max));
    }
    return begin({.what = What::publish,
                  .path = std::string(parameters.substr(used + 1)),
                  .copies = static_cast<uint8_t>(copies)});
  }

  [[nodiscard]] Json begin(const ReplicaAsk& question) const {
    return ask(question, [](const ReplicaAnswer& answer) {
      if (answer.status.state == PublishState::failed) return error_of(answer.status.detail);
      return Json{{"ticket", uint64_t{answer.status.ticket}}};
    });
  }

  [[nodiscard]] std::optional<Json> publication(std::string_view parameters) const {
    uint32_t ticket = 0;
    const auto [end, error] =
        std::from_chars(parameters.data(), parameters.data() + parameters.size(), ticket);
    if (error != std::errc() || end != parameters.data() + parameters.size()) return std::nullopt;
    return ask({.what = What::status, .ticket = ticket}, [](const ReplicaAnswer& answer) {
      const replica::PublishStatus& status = answer.status;
      return Json{{"ticket", uint64_t{status.ticket}},
                  {"state", std::string(state_name(status.state))},
                  {"generation", generation_text(status.generation)},
                  {"copies_asked", uint64_t{status.copies_asked}},
                  {"copies_verified", uint64_t{status.copies_verified}},
                  {"detail", status.detail}};
    });
  }

  // Rows from number `from` on, as many as fit.
  template <typename Row, typename Make>
  [[nodiscard]] static Json page(const char* name, const std::vector<Row>& rows,
                                 std::string_view parameters, const Make& make) {
    size_t at = 0;
    std::from_chars(parameters.data(), parameters.data() + parameters.size(), at);
    Json list = Json::array();
    for (size_t bytes = 0; at < rows.size() && bytes < page_bytes_max; ++at) {
      list.push_back(make(rows[at]));
      bytes += list.back().dump().size();
    }
    return {{"total", uint64_t{rows.size()}},
            {"next", at < rows.size() ? fmt::format("{}", at) : std::string()},
            {name, list}};
  }

  [[nodiscard]] Json replicas(std::string_view parameters) const {
    const std::vector<replica::PeerRow> nodes = peer_rows();
    return ask({.what = What::replicas}, [&](const ReplicaAnswer& answer) {
      const Names names(thread_->config(), nodes);
      Json out = page("replicas", answer.replicas, parameters, [&](const replica::ReplicaRow& row) {
        return Json{{"path", path_json(row.path)},
                    {"generation", generation_text(row.generation)},
                    {"size", row.size_bytes},
                    {"etag", hex(row.etag)},
                    {"copies_asked", uint64_t{row.copies_asked}},
                    {"copies_verified", uint64_t{row.copies_verified}},
                    {"current", uint64_t{row.current}},
                    {"degraded", uint64_t{row.degraded}},
                    {"holders", names.of(row.holders)},
                    {"verified", names.of(row.verified)}};
      });
      out["degraded"] = static_cast<uint64_t>(
          std::count_if(answer.replicas.begin(), answer.replicas.end(),
                        [](const replica::ReplicaRow& row) { return row.degraded; }));
      return out;
    });
  }

  [[nodiscard]] Json peers() const {
    return ask({.what = What::peers}, [](const ReplicaAnswer& answer) {
      Json out = Json::array();
      for (const replica::PeerRow& row : answer.peers) {
        // An address of the static list, beside the node that was met there.
        const bool met =
            std::any_of(answer.peers.begin(), answer.peers.end(), [&](const auto& each) {
              return row.node.is_none() && !each.node.is_none() && each.address == row.address;
            });
        if (met) continue;
        out.push_back({{"name", row.name},
                       {"node", hex(row.node.value)},
                       {"address", row.address},
                       {"alive", uint64_t{row.alive}},
                       {"rdma", uint64_t{row.rdma_up}},
                       {"tcp", uint64_t{row.tcp_up}},
                       {"bytes_to", row.bytes_to},
                       {"bytes_from", row.bytes_from},
                       {"srtt_us", uint64_t{row.srtt_us}},
                       {"over", std::string(row.rdma_up  ? "rdma"
                                            : row.tcp_up ? "tcp"
                                                         : "")},
                       {"why_no_rdma", row.why_no_rdma},
                       {"last_end", row.last_end}});
      }
      return out;
    });
  }

  [[nodiscard]] Json transfers(std::string_view parameters) const {
    const std::vector<replica::PeerRow> nodes = peer_rows();
    return ask({.what = What::transfers}, [&](const ReplicaAnswer& answer) {
      const Names names(thread_->config(), nodes);
      return page("transfers", answer.transfers, parameters, [&](const replica::TransferRow& row) {
        return Json{{"path", path_json(row.path)},
                    {"generation", generation_text(row.generation)},
                    {"direction", row.incoming ? "from" : "to"},
                    {"peer", names.of(row.peer)},
                    {"transport", row.transport == replica::Transport::rdma ? "rdma" : "tcp"},
                    {"bytes_done", row.bytes_done},
                    {"bytes_total", row.bytes_total},
                    {"bytes_per_s", row.bytes_per_s},
                    {"lag_ms", uint64_t{row.lag_ms}}};
      });
    });
  }

 private:
  [[nodiscard]] std::vector<replica::PeerRow> peer_rows() const {
    ReplicaAnswer answer;
    if (thread_ == nullptr || !thread_->ask({.what = What::peers}, patience, answer)) return {};
    return std::move(answer.peers);
  }

  ReplicaThread* thread_;
};

}  // namespace

std::vector<Command> make_replica_commands(ReplicaThread* thread) {
  const Answers answers(thread);
  using Text = std::string_view;
  return {
      {"/sluice/publish", "Replicates a file. Parameters: copies, path",
       [=](Text parameters) { return answers.publish(parameters); }},
      {"/sluice/unpublish", "The path leads to the disk again. Parameter: path",
       [=](Text parameters) {
         return answers.begin({.what = What::unpublish, .path = std::string(parameters)});
       }},
      {"/sluice/publication", "How it stands. Parameter: ticket",
       [=](Text parameters) { return answers.publication(parameters); }},
      {"/sluice/replicas", "A page of published files. Parameter: what \"next\" says",
       [=](Text parameters) { return answers.replicas(parameters); }},
      {"/sluice/peers", "The other nodes, and the links to them",
       [=](Text) { return answers.peers(); }},
      {"/sluice/transfers", "A page of what is on its way. Parameter: \"next\"",
       [=](Text parameters) { return answers.transfers(parameters); }},
  };
}

}  // namespace sluice::app
