// A request for tests: parsed from a head written without line ends.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "http/request_parser.h"

namespace sluice::http {

/// "GET / HTTP/1.1" and its fields as bytes, with the empty line.
inline std::string head_of(std::initializer_list<std::string> lines) {
  std::string bytes;
  for (const std::string& line : lines) bytes += line + "\r\n";
  return bytes + "\r\n";
}

/// A parsed head together with the bytes that it refers to. Fails the test when it is refused.
class Parsed {
 public:
  Parsed(std::initializer_list<std::string> lines) : Parsed(head_of(lines)) {}
  explicit Parsed(std::string bytes) : bytes_(std::move(bytes)) {
    ParseProgress progress;
    const ParseResult result = parse_request(bytes_, progress, request_);
    EXPECT_EQ(result.state, ParseState::complete) << bytes_;
    EXPECT_EQ(result.head_bytes, bytes_.size());
  }
  Parsed(const Parsed&) = delete;
  Parsed& operator=(const Parsed&) = delete;

  const Request& operator*() const { return request_; }
  const Request* operator->() const { return &request_; }

 private:
  std::string bytes_;
  Request request_;
};

}  // namespace sluice::http
