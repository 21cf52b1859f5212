#include "http/target.h"

#include "http/syntax.h"

namespace sluice::http {
namespace {

struct DecodedPart {
  Status status = Status::ok;
  size_t encoded_length = 0;  // of the part in `encoded`, up to the next "/"
  size_t length = 0;          // of the part in `out`
};

// Decodes the part that `encoded` starts with, up to a "/" or the end.
DecodedPart decode_part(std::string_view encoded, std::span<char> out) {
  DecodedPart part;
  while (part.encoded_length < encoded.size() && encoded[part.encoded_length] != '/') {
    char c = encoded[part.encoded_length++];
    if (c == '%') {
      if (encoded.size() - part.encoded_length < 2) return {.status = Status::bad_request};
      const int high = hex_value(encoded[part.encoded_length]);
      const int low = hex_value(encoded[part.encoded_length + 1]);
      if (high < 0 || low < 0) return {.status = Status::bad_request};
      part.encoded_length += 2;
      c = static_cast<char>(high * 16 + low);
      if (c == '\0') return {.status = Status::bad_request};
      if (c == '/') return {.status = Status::not_found};
    }
    if (part.length == out.size()) return {.status = Status::uri_too_long};
    out[part.length++] = c;
  }
  return part;
}

}  // namespace

ResolvedTarget resolve_target(const Request& request, std::span<char> out) {
  std::string_view rest = request.path;
  if (!rest.starts_with('/')) return {.status = Status::bad_request};
  size_t used = 0;  // out[0, used): the parts so far, with "/" between them
  bool is_directory = true;
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the "/"
    const size_t start = used > 0 ? used + 1 : 0;
    const std::span<char> room = start < out.size() ? out.subspan(start) : std::span<char>();
    const DecodedPart decoded = decode_part(rest, room);
    if (decoded.status != Status::ok) return {.status = decoded.status};
    rest.remove_prefix(decoded.encoded_length);

    const std::string_view part(room.data(), decoded.length);
    is_directory = part.empty() || part == "." || part == "..";
    if (part == "..") {
      // RFC 3986 section 5.2.4 would stay at the root. Nobody who means well goes above it.
      if (used == 0) return {.status = Status::bad_request};
      const size_t slash = std::string_view(out.data(), used).rfind('/');
      used = slash == std::string_view::npos ? 0 : slash;
    } else if (!is_directory) {
      if (used > 0) out[used] = '/';
      used = start + decoded.length;
    }
  }
  return {.path = {out.data(), used}, .is_directory = is_directory};
}

}  // namespace sluice::http
