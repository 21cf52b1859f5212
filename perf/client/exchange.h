// Exchange: what a client knows of the response that it reads on a connection.
//
// Reads status and Content-Length, counts the body and keeps none of it. Chunked bodies are not
// understood: what is measured serves files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::perf {

enum class Progress : uint8_t { more, complete, bad };

class Exchange {
 public:
  /// Takes bytes as they came.
  Progress read(std::string_view bytes);
  /// Ready for the next response of the connection.
  void restart() { *this = Exchange(); }

  [[nodiscard]] uint64_t body_bytes() const { return body_bytes_; }
  [[nodiscard]] int status() const { return status_; }

 private:
  static constexpr size_t head_bytes_max = 8192;
  bool parse_head();

  std::string head_;
  bool in_body_ = false;
  int status_ = 0;
  uint64_t length_ = 0;
  uint64_t body_bytes_ = 0;
};

}  // namespace sluice::perf
