// Visitor: one client with a plan. Asks for files and ranges, stalls, aborts, and judges every byte
// as it comes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cluster.h"

namespace sluice::sim {

/// A failed expectation, in words.
struct Failure {
  std::string what;
};

/// What a path has led to, the newest version last. Versions differ in size, so that a response
/// tells which one it is of.
struct FileHistory {
  struct Version {
    uint64_t size = 0;
    uint64_t seed = 0;
  };
  std::vector<Version> versions;
};
using Files = std::map<std::string, FileHistory>;

struct VisitorOptions {
  size_t path = 0;
  uint64_t requests_max = 6;
  ClientOptions client;
  /// The disk fails, or files change: a response may be cut short or be an error.
  bool unreliable_content = false;
  /// Tables are smaller than the crowd: 503 is an answer, and a stalled reader may be reset.
  bool may_be_refused = false;
};

class Visitor {
 public:
  Visitor(Cluster& cluster, Prng& prng, const Files& files, const VisitorOptions& options);

  /// Returns true once it is done. Throws Failure.
  bool step();
  /// One line, for a run that does not end.
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] uint64_t responses() const { return responses_; }

 private:
  void ask();
  [[nodiscard]] bool judge();
  void read_head();
  void check_progress(int64_t now);
  // The server may end this connection.
  [[nodiscard]] bool is_excused() const;
  [[nodiscard]] bool act(int64_t now);

  Cluster& cluster_;
  const Files& files_;
  VisitorOptions options_;
  uint64_t requests_left_;
  Prng prng_;
  ReferenceClient* client_;

  // The request under way.
  std::string path_;
  bool waiting_ = false, missing_ = false, ranged_ = false;
  uint64_t range_from_ = 0, range_length_ = 0;
  // Its response, once the head is there.
  size_t body_at_ = 0;  // 0: no head yet
  uint64_t length_ = 0, checked_ = 0, first_byte_ = 0;
  bool is_content_ = false;
  uint64_t seed_ = 0;

  bool aborted_ = false, done_ = false, stalled_ever_ = false;
  uint64_t trouble_at_ = UINT64_MAX;
  int64_t stalled_until_ns_ = 0;
  int64_t progress_at_ns_ = 0;
  uint64_t progress_bytes_ = 0;
  uint64_t responses_ = 0;
};

}  // namespace sluice::sim
