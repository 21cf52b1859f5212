#include "http/body_drain.h"

#include <algorithm>
#include <limits>

#include "http/syntax.h"

namespace sluice::http {
namespace {

// One more hex digit still fits into 64 bits.
constexpr uint64_t chunk_size_before_overflow = std::numeric_limits<uint64_t>::max() / 16;

}  // namespace

BodyDrain::BodyDrain(const Request& request, uint64_t limit_bytes) : budget_bytes_(limit_bytes) {
  if (request.body == BodyFraming::none) return;
  if (request.body == BodyFraming::chunked) {
    part_ = Part::size_first;
    state_ = DrainState::more;
    return;
  }
  left_bytes_ = request.content_length;
  if (left_bytes_ == 0) return;
  state_ = left_bytes_ > limit_bytes ? DrainState::failed : DrainState::more;
}

size_t BodyDrain::drain(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size() && state_ == DrainState::more) {
    if (budget_bytes_ == 0) {
      fail();
      break;
    }
    if (part_ != Part::counted && part_ != Part::data) {
      --budget_bytes_;
      step(bytes[at++]);
      continue;
    }
    const uint64_t skipped =
        std::min({left_bytes_, budget_bytes_, static_cast<uint64_t>(bytes.size() - at)});
    at += static_cast<size_t>(skipped);
    left_bytes_ -= skipped;
    budget_bytes_ -= skipped;
    if (left_bytes_ > 0) continue;
    if (part_ == Part::counted) {
      state_ = DrainState::done;
    } else {
      part_ = Part::data_cr;
    }
  }
  return at;
}

void BodyDrain::step(char byte) {
  switch (part_) {
    case Part::size_first:
    case Part::size:
    case Part::size_space:
    case Part::extension:
    case Part::size_lf:
      step_in_chunk_line(byte);
      return;
    case Part::data_cr:
      expect(byte, '\r', Part::data_lf);
      return;
    case Part::data_lf:
      expect(byte, '\n', Part::size_first);
      line_bytes_ = 0;
      return;
    default:
      step_in_trailers(byte);
      return;
  }
}

// chunk-size [ chunk-ext ] CRLF, where chunk-ext begins with BWS ";" (RFC 9112 section 7.1). What
// an extension says is ignored; that it holds no control byte is not.
void BodyDrain::step_in_chunk_line(char byte) {
  if (++line_bytes_ > chunk_line_max_bytes) return fail();
  if (part_ == Part::size_lf) {
    if (byte != '\n') return fail();
    part_ = left_bytes_ > 0 ? Part::data : Part::trailer_start;
    line_bytes_ = 0;
    return;
  }
  if (part_ == Part::size_first || part_ == Part::size) {
    const int digit = hex_value(byte);
    if (digit >= 0) {
      // Beyond the budget already, or about to overflow (RFC 9112 section 7.1).
      if (left_bytes_ > std::min(budget_bytes_, chunk_size_before_overflow)) return fail();
      left_bytes_ = left_bytes_ * 16 + static_cast<uint64_t>(digit);
      part_ = Part::size;
      return;
    }
    if (part_ == Part::size_first || left_bytes_ > budget_bytes_) return fail();
  }
  if (byte == '\r' && part_ != Part::size_space) {
    part_ = Part::size_lf;
  } else if (part_ == Part::extension) {
    if (!is_in(byte, character::field)) fail();
  } else if (byte == ';') {
    part_ = Part::extension;
  } else if (byte == ' ' || byte == '\t') {
    part_ = Part::size_space;
  } else {
    fail();
  }
}

// *( field-line CRLF ) CRLF: ignored, but read as strictly as the fields of a head.
void BodyDrain::step_in_trailers(char byte) {
  if (++line_bytes_ > trailers_max_bytes) return fail();
  switch (part_) {
    case Part::trailer_start:
      if (byte == '\r') {
        part_ = Part::end_lf;
      } else if (is_in(byte, character::token)) {
        part_ = Part::trailer_name;
      } else {
        fail();
      }
      return;
    case Part::trailer_name:
      if (byte == ':') {
        part_ = Part::trailer_value;
      } else if (!is_in(byte, character::token)) {
        fail();
      }
      return;
    case Part::trailer_value:
      if (byte == '\r') {
        part_ = Part::trailer_lf;
      } else if (!is_in(byte, character::field)) {
        fail();
      }
      return;
    case Part::trailer_lf:
      expect(byte, '\n', Part::trailer_start);
      return;
    default:  // end_lf
      if (byte != '\n') return fail();
      state_ = DrainState::done;
      return;
  }
}

void BodyDrain::expect(char byte, char expected, Part next) {
  if (byte != expected) return fail();
  part_ = next;
}

}  // namespace sluice::http
