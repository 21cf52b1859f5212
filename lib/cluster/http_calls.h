// HttpCalls: POSTs to one server after the other, several at a time, and one stream of lines. Every
// call has a deadline. For one thread, but for wake().
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"

namespace sluice::cluster {

/// For https. Empty: the system's certificates, none of our own.
struct TlsFiles {
  std::string authority;
  std::string certificate;
  std::string key;
};

class HttpCalls {
 public:
  struct Done {
    uint64_t tag = 0;
    bool answered = false;  // an HTTP answer came, whole
    long status = 0;
    std::string body;
    std::string error;  // not answered: why
  };

  explicit HttpCalls(const TlsFiles& tls);
  ~HttpCalls();
  HttpCalls(const HttpCalls&) = delete;
  HttpCalls& operator=(const HttpCalls&) = delete;

  /// The answer, or that there is none, comes by poll() within the deadline.
  void start(uint64_t tag, const std::string& url, std::string body, Duration deadline);
  /// Its lines come by poll_line(); it ends by poll(), when the connection ends. One at a time.
  void start_stream(uint64_t tag, const std::string& url, std::string body);
  /// Forgets it: no Done comes.
  void cancel_all();

  /// Waits for something to come, for a wake(), or for so long.
  void wait(Duration longest);
  [[nodiscard]] bool poll(Done& out);
  [[nodiscard]] bool poll_line(std::string& out);
  /// For any thread: ends a wait().
  void wake();

 private:
  struct Call;
  void add(std::unique_ptr<Call> call, const std::string& url);
  void collect();

  TlsFiles tls_;
  void* multi_;
  void* headers_;
  std::list<std::unique_ptr<Call>> calls_;
  std::deque<Done> done_;
  std::deque<std::string> lines_;
};

}  // namespace sluice::cluster
