// BodyDrain: reads past the content of a request without keeping it.
//
// Read first: RFC 9112 sections 6.3 and 7.1. GET, HEAD and OPTIONS have no use for content, but a
// client may send some: the next request begins behind it, so its end must be found exactly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http/request.h"

namespace sluice::http {

/// Bounds on the parts of a chunked body (RFC 9112 section 7.1.1: a recipient ought to limit them).
inline constexpr uint32_t chunk_line_max_bytes = 256;  // chunk size and extensions
inline constexpr uint32_t trailers_max_bytes = 4096;

enum class DrainState : uint8_t {
  more,    // the content goes on: call again with what comes
  done,    // the next byte is the next request's
  failed,  // malformed or too long: close the connection
};

/// A few words of plain state; a default one is done.
class BodyDrain {
 public:
  BodyDrain() = default;
  /// For the content of `request`, of which at most `limit_bytes` are read (chunk framing counts).
  BodyDrain(const Request& request, uint64_t limit_bytes);

  /// Reads past content at the front of `bytes`.
  /// Returns: how many bytes belong to it; all of them while the state is `more`.
  [[nodiscard]] size_t drain(std::string_view bytes);
  [[nodiscard]] DrainState state() const { return state_; }

 private:
  enum class Part : uint8_t {
    counted,  // Content-Length
    size_first,
    size,
    size_space,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer_name,
    trailer_value,
    trailer_lf,
    end_lf,
  };

  void step(char byte);
  void step_in_chunk_line(char byte);
  void step_in_trailers(char byte);
  void expect(char byte, char expected, Part next);
  void fail() { state_ = DrainState::failed; }

  uint64_t left_bytes_ = 0;    // of the content, or of the current chunk
  uint64_t budget_bytes_ = 0;  // of everything
  uint32_t line_bytes_ = 0;    // of the current chunk line, or of all trailers
  Part part_ = Part::counted;
  DrainState state_ = DrainState::done;
};

}  // namespace sluice::http
