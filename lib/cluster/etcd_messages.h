// What is said to etcd's JSON gateway (v3 API), and what it says: text to values and back. Keys and
// values are base64, 64-bit integers are strings, fields of their default value are left out.
//
// Nothing here trusts what came: anything that is not as it should be is nothing (nullopt), and a
// key or value that is not ours is an Unknown.
//
// Keys, below /sluice/v1/CLUSTER/:
//   node/NODE            leased   JSON: name, address, epoch, room
//   manifest/GENERATION           record (docs/formats/replication.md)
//   assignment/GENERATION         record
//   mark/GENERATION/NODE leased   record
//   current/PATH                  record; unpublished: one without a generation
// NODE is 16 hexadecimal digits, GENERATION 32 (number, publisher), PATH the path's bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "replica/record.h"
#include "replica/registry.h"

namespace sluice::cluster {

// Keys
class Keys {
 public:
  explicit Keys(std::string_view cluster) : prefix_("/sluice/v1/" + std::string(cluster) + "/") {}

  [[nodiscard]] const std::string& prefix() const { return prefix_; }
  [[nodiscard]] std::string node(replica::NodeId node) const;
  [[nodiscard]] std::string manifest(replica::GenerationId generation) const;
  [[nodiscard]] std::string assignment(replica::GenerationId generation) const;
  [[nodiscard]] std::string marks(replica::GenerationId generation) const;  // a prefix
  [[nodiscard]] std::string mark(replica::GenerationId generation, replica::NodeId node) const;
  [[nodiscard]] std::string current(std::string_view path) const;
  [[nodiscard]] std::string of(const replica::Record& record) const;

 private:
  std::string prefix_;
};
/// The first key after all that begin with `prefix`.
[[nodiscard]] std::string end_of_prefix(std::string prefix);

/// A key and its value, as they are to be understood.
struct Unknown {};
using Entry = std::variant<Unknown, replica::NodeSeen, replica::Record>;
[[nodiscard]] Entry understand(const Keys& keys, std::string_view key, std::string_view value,
                               const replica::Digests& digests);
[[nodiscard]] std::string node_value(const replica::NodeSeen& node);

// Requests
struct Compare {
  enum class What : uint8_t { mod_revision, value } what = What::mod_revision;
  std::string key;
  int64_t mod_revision = 0;  // 0: there is none
  std::string value;
};
struct PutOp {
  std::string key;
  std::string value;
  int64_t lease = 0;
};
struct DeleteOp {
  std::string key;
  std::string end;  // empty: just the key
};
using Op = std::variant<PutOp, DeleteOp>;
[[nodiscard]] std::string txn_request(const std::vector<Compare>& compares,
                                      const std::vector<Op>& then);
[[nodiscard]] std::string range_request(std::string_view key, std::string_view end,
                                        int64_t revision, int64_t limit);
[[nodiscard]] std::string watch_request(std::string_view prefix, int64_t revision);
[[nodiscard]] std::string grant_request(int64_t ttl_s);
[[nodiscard]] std::string lease_request(int64_t lease);  // keepalive, revoke

// Answers
struct KeyValue {
  std::string key;
  std::string value;
  int64_t mod_revision = 0;
};
struct Range {
  int64_t revision = 0;
  bool more = false;
  std::vector<KeyValue> keys;
};
struct Change {
  bool deleted = false;
  KeyValue key;
};
struct WatchMessage {
  int64_t revision = 0;
  bool created = false;
  bool canceled = false;
  std::vector<Change> changes;
};
[[nodiscard]] std::optional<Range> parse_range(std::string_view text);
/// Whether the transaction's comparisons held.
[[nodiscard]] std::optional<bool> parse_txn(std::string_view text);
[[nodiscard]] std::optional<WatchMessage> parse_watch(std::string_view text);
/// The lease's id.
[[nodiscard]] std::optional<int64_t> parse_grant(std::string_view text);
/// Seconds that the lease has left; 0: it is gone.
[[nodiscard]] std::optional<int64_t> parse_keepalive(std::string_view text);
struct Failure {
  int64_t code = 2;     // of gRPC; 2: unknown
  std::string message;  // for people, cut to a line
};
[[nodiscard]] Failure parse_failure(std::string_view text);

}  // namespace sluice::cluster
