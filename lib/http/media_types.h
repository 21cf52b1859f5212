// MediaTypes: file name extension -> Content-Type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/fixed_array.h"

namespace sluice::http {

inline constexpr std::string_view default_media_type = "application/octet-stream";
inline constexpr size_t media_type_max_bytes = 128;  // so that every head fits into its slot

/// Built once at start; lookup allocates nothing. Immutable, so any number of workers may share it.
class MediaTypes {
 public:
  /// `text` is the text of a mime.types file: lines of a type and its extensions, "#" comments.
  /// Where an extension stands twice the first line counts. Malformed or overlong types are left
  /// out. A short list of our own corrects it (".ts" is video here) and fills in what it lacks.
  explicit MediaTypes(std::string_view text);

  /// The type for the last extension of the path's last part, in any case; `default_media_type`
  /// where there is none. The view lives as long as this object.
  [[nodiscard]] std::string_view of(std::string_view path) const;

  /// How many extensions are known.
  [[nodiscard]] size_t size() const { return size_; }

 private:
  struct Entry {
    std::string_view extension;  // lower case, into text_
    std::string_view type;       // into text_; empty: a free slot
  };

  void add(std::string_view type, std::string_view extension);
  [[nodiscard]] size_t slot_of(std::string_view extension) const;
  [[nodiscard]] std::string_view keep(std::string_view text);

  FixedArray<char> text_;
  size_t text_used_ = 0;
  FixedArray<Entry> entries_;  // open addressing; a power of two, at most half full
  size_t size_ = 0;
};

}  // namespace sluice::http
