#include "http/media_types.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "http/syntax.h"

namespace sluice::http {
namespace {

// Read before the system's: where that is known to be wrong for what sluice serves. Debian gives
// ".ts" to a translation tool; here it is an MPEG transport stream (RFC 8216 section 3.2).
constexpr std::string_view our_types = "video/mp2t ts\n";

// Read after the system's: for machines without one.
constexpr std::string_view fallback_types =
    "text/html html htm\n"
    "text/css css\n"
    "text/javascript js mjs\n"
    "text/plain txt\n"
    "text/xml xml\n"
    "text/vtt vtt\n"
    "application/json json\n"
    "application/pdf pdf\n"
    "application/wasm wasm\n"
    "application/zip zip\n"
    "application/gzip gz tgz\n"
    "application/zstd zst\n"
    "application/x-xz xz\n"
    "application/vnd.debian.binary-package deb udeb\n"
    "application/vnd.apple.mpegurl m3u8\n"
    "application/dash+xml mpd\n"
    "video/iso.segment m4s cmfv cmfa\n"
    "video/mp4 mp4 m4v\n"
    "video/webm webm\n"
    "video/x-matroska mkv\n"
    "audio/mp4 m4a\n"
    "audio/mpeg mp3\n"
    "audio/ogg ogg opus\n"
    "image/avif avif\n"
    "image/gif gif\n"
    "image/jpeg jpeg jpg\n"
    "image/png png\n"
    "image/svg+xml svg\n"
    "image/webp webp\n"
    "image/vnd.microsoft.icon ico\n"
    "font/woff woff\n"
    "font/woff2 woff2\n";

constexpr size_t extension_max_bytes = 32;

char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

// FNV-1a over the lower-case text. Its keys are the operator's, not a peer's: no secret is needed.
size_t hash_of(std::string_view extension) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : extension) {
    hash = (hash ^ static_cast<unsigned char>(to_lower(c))) * 0x100000001b3ULL;
  }
  return static_cast<size_t>(hash ^ (hash >> 32));
}

// type "/" subtype, with parameters if the operator wants them; nothing that could end the line.
bool is_media_type(std::string_view type) {
  const size_t slash = type.find('/');
  if (type.size() > media_type_max_bytes || slash == 0 || slash + 1 >= type.size()) return false;
  const size_t name = run_length(type, character::token);
  return name == slash && run_length(type, character::field) == type.size();
}

// Calls on_pair(type, extension) for each extension of each good line.
template <typename OnPair>
void for_each_pair(std::string_view text, const OnPair& on_pair) {
  constexpr std::string_view space = " \t\r\v\f";
  const auto next_word = [&](std::string_view& line) {
    const size_t start = std::min(line.find_first_not_of(space), line.size());
    line.remove_prefix(start);
    const std::string_view word = line.substr(0, line.find_first_of(space));
    line.remove_prefix(word.size());
    return word;
  };
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    line = line.substr(0, line.find('#'));
    const std::string_view type = next_word(line);
    if (!is_media_type(type)) continue;
    while (true) {
      const std::string_view extension = next_word(line);
      if (extension.empty()) break;
      if (extension.size() <= extension_max_bytes) on_pair(type, extension);
    }
  }
}

}  // namespace

MediaTypes::MediaTypes(std::string_view text) {
  const std::string_view sources[] = {our_types, text, fallback_types};
  size_t pairs = 0;
  size_t text_bytes = 0;
  for (const std::string_view source : sources) {
    for_each_pair(source, [&](std::string_view type, std::string_view extension) {
      ++pairs;
      text_bytes += type.size() + extension.size();
    });
  }
  text_ = FixedArray<char>(text_bytes);
  entries_ = FixedArray<Entry>(std::bit_ceil(2 * pairs));
  for (const std::string_view source : sources) {
    for_each_pair(source, [this](std::string_view type, std::string_view extension) {
      add(type, extension);
    });
  }
}

void MediaTypes::add(std::string_view type, std::string_view extension) {
  Entry& entry = entries_[slot_of(extension)];
  if (!entry.type.empty()) return;
  entry.type = keep(type);
  entry.extension = keep(extension);
  ++size_;
}

size_t MediaTypes::slot_of(std::string_view extension) const {
  size_t slot = hash_of(extension) & (entries_.size() - 1);
  // Ends: the table is at most half full.
  while (!entries_[slot].type.empty() && !equals_any_case(extension, entries_[slot].extension)) {
    slot = (slot + 1) & (entries_.size() - 1);
  }
  return slot;
}

std::string_view MediaTypes::keep(std::string_view text) {
  ASSERT(text_used_ + text.size() <= text_.size());
  char* const start = text_.begin() + text_used_;
  for (size_t i = 0; i < text.size(); ++i) start[i] = to_lower(text[i]);
  text_used_ += text.size();
  return {start, text.size()};
}

std::string_view MediaTypes::of(std::string_view path) const {
  // npos + 1 is 0: the whole path is the name.
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const size_t dot = name.rfind('.');
  // A dot in front hides a file; it does not begin an extension.
  if (dot == 0 || dot == std::string_view::npos) return default_media_type;
  const std::string_view extension = name.substr(dot + 1);
  if (extension.empty() || extension.size() > extension_max_bytes) return default_media_type;
  const Entry& entry = entries_[slot_of(extension)];
  return entry.type.empty() ? default_media_type : entry.type;
}

}  // namespace sluice::http
