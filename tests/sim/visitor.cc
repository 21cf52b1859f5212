#include "visitor.h"

#include <cstdlib>

#include "content_source.h"

namespace sluice::sim {
namespace {

// A client that waits hears something new at least so often: a cut of the link, and a
// retransmission timer that backed off meanwhile (tcp::rto_max), are shorter than that together.
constexpr int64_t progress_ns_max = 130'000'000'000;

}  // namespace

Visitor::Visitor(Cluster& cluster, Prng& prng, const Files& files, const VisitorOptions& options)
    : cluster_(cluster),
      files_(files),
      options_(options),
      requests_left_(1 + prng.below(options.requests_max)),
      prng_(prng.next()),
      client_(&cluster.connect(options.path, options.client)),
      progress_at_ns_(cluster.now_ns()) {}

bool Visitor::step() {
  if (done_) return true;
  const int64_t now = cluster_.now_ns();
  if (client_->state() == ClientState::reset) {
    if (!aborted_ && !is_excused()) throw Failure{"the server reset a good connection"};
    return done_ = true;
  }
  check_progress(now);
  done_ = aborted_;
  return done_ || act(now);
}

bool Visitor::is_excused() const {
  return options_.unreliable_content || (options_.may_be_refused && stalled_ever_);
}

void Visitor::check_progress(int64_t now) {
  const bool waits = waiting_ && stalled_until_ns_ == 0;
  if (client_->received_bytes() != progress_bytes_ || !waits) {
    progress_bytes_ = client_->received_bytes();
    progress_at_ns_ = now;
  }
  if (now - progress_at_ns_ <= progress_ns_max) return;
  // The server ended the connection, for a good reason, and its RST was lost.
  if (is_excused() && !cluster_.knows(client_->port())) {
    aborted_ = true;
    client_->abort(now);
    return;
  }
  throw Failure{"no progress: " + describe()};
}

bool Visitor::act(int64_t now) {
  if (stalled_until_ns_ != 0 && now >= stalled_until_ns_) {
    stalled_until_ns_ = 0;
    client_->resume(now);
  }
  if (!waiting_ && requests_left_ > 0 && !client_->peer_closed()) {
    ask();
  } else if (!waiting_ && client_->peer_closed() && requests_left_ > 0) {
    requests_left_ = 0;  // an error answer ends the connection
    client_->close(now);
  } else if (waiting_ && judge()) {
    waiting_ = false;
    ++responses_;
    if (requests_left_ == 0) client_->close(now);
  } else if (waiting_ && client_->received_bytes() > trouble_at_) {
    trouble_at_ = UINT64_MAX;
    if (prng_.chance(1, 3)) {
      aborted_ = true;
      client_->abort(now);
    } else {
      client_->stall();
      stalled_ever_ = true;
      stalled_until_ns_ = now + static_cast<int64_t>(prng_.below(4'000'000'000)) + 1;
    }
  }
  if (!waiting_ && requests_left_ == 0 && client_->state() == ClientState::done) done_ = true;
  return done_;
}

void Visitor::ask() {
  auto it = files_.begin();
  std::advance(it, static_cast<int64_t>(prng_.below(files_.size())));
  path_ = it->first;
  const uint64_t size = it->second.versions.back().size;
  std::string fields = "Host: s\r\n";
  ranged_ = size > 0 && prng_.chance(1, 3);
  if (ranged_) {
    range_from_ = prng_.below(size);
    range_length_ = 1 + prng_.below(size - range_from_);
    fields += "Range: bytes=" + std::to_string(range_from_) + "-" +
              std::to_string(range_from_ + range_length_ - 1) + "\r\n";
  }
  missing_ = prng_.chance(1, 10);
  if (missing_) path_ = "nothing/here";
  client_->forget_received();
  client_->send(cluster_.now_ns(), "GET /" + path_ + " HTTP/1.1\r\n" + fields + "\r\n");
  trouble_at_ = prng_.chance(1, 5) ? client_->received_bytes() + prng_.below(size + 1) : UINT64_MAX;
  waiting_ = true;
  body_at_ = 0;
  checked_ = 0;
  --requests_left_;
}

void Visitor::read_head() {
  const std::string& got = client_->received();
  const size_t end = got.find("\r\n\r\n");
  if (end == std::string::npos) return;
  const std::string head = got.substr(0, end);
  const size_t field = head.find("Content-Length: ");
  if (field == std::string::npos) throw Failure{"no Content-Length: " + head};
  length_ = std::strtoull(head.c_str() + field + 16, nullptr, 10);
  body_at_ = end + 4;
  const std::string status = head.substr(9, 3);
  is_content_ = status == "200" || status == "206";
  if (!is_content_) {
    const bool excused =
        (status == "404" && missing_) ||
        (options_.unreliable_content && (status == "500" || status == "503" || status == "416")) ||
        (options_.may_be_refused && status == "503");
    if (!excused) throw Failure{"answer " + status + " for " + path_};
    return;
  }
  if (missing_) throw Failure{"content for a file that is not there"};
  uint64_t total = length_;
  first_byte_ = 0;
  if (status == "206") {
    const size_t range = head.find("Content-Range: bytes ");
    const size_t slash = head.find('/', range);
    if (!ranged_ || range == std::string::npos || slash == std::string::npos) {
      throw Failure{"a range that was not asked for"};
    }
    first_byte_ = std::strtoull(head.c_str() + range + 21, nullptr, 10);
    total = std::strtoull(head.c_str() + slash + 1, nullptr, 10);
    if (first_byte_ != range_from_) throw Failure{"another range: " + head};
    if (length_ != std::min(range_length_, total - first_byte_)) throw Failure{"wrong length"};
  } else if (ranged_) {
    throw Failure{"the whole file for a range"};
  }
  for (const FileHistory::Version& version : files_.at(path_).versions) {
    if (version.size != total) continue;
    seed_ = version.seed;
    return;
  }
  throw Failure{"a size that the file never had: " + head};
}

// Returns true when the response is whole and right.
bool Visitor::judge() {
  if (body_at_ == 0) read_head();
  const std::string& got = client_->received();
  const uint64_t have = body_at_ == 0 ? 0 : got.size() - body_at_;
  if (body_at_ != 0 && have > length_) throw Failure{"more bytes than Content-Length"};
  for (; is_content_ && checked_ < have; ++checked_) {
    const auto byte = static_cast<uint8_t>(got[body_at_ + checked_]);
    if (byte != pattern_byte(seed_, first_byte_ + checked_)) {
      throw Failure{"wrong byte " + std::to_string(first_byte_ + checked_) + " of " + path_};
    }
  }
  if (body_at_ != 0 && have == length_) return true;
  if (client_->peer_closed()) throw Failure{"response cut short by a FIN"};
  return false;
}

std::string Visitor::describe() const {
  return path_ + " waiting=" + std::to_string(waiting_) +
         " received=" + std::to_string(client_->received().size()) +
         " length=" + std::to_string(length_) +
         " state=" + std::to_string(static_cast<int>(client_->state()));
}

}  // namespace sluice::sim
