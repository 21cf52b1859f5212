// Entity tags: RFC 9110 section 8.8.3. Ours are strong: 16 hex digits of a 64-bit version hash.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http/request.h"

namespace sluice::http {

inline constexpr size_t entity_tag_bytes = 18;  // "0123456789abcdef", with its quotes

/// Our tag, as it is sent.
class EntityTag {
 public:
  explicit EntityTag(uint64_t version);
  [[nodiscard]] std::string_view text() const { return {text_.data(), text_.size()}; }

 private:
  std::array<char, entity_tag_bytes> text_{};
};

/// RFC 9110 section 8.8.3.2. Weak comparison takes W/"x" and "x" for the same; strong does not.
enum class TagComparison : uint8_t { strong, weak };

/// What If-Match and If-None-Match say of a representation that exists.
/// Returns true when a member of the list, over all lines of the field, matches `own`, or when the
/// list is "*". A malformed list matches by the members before its first fault only.
/// Requires: `field` is a field of `request` named `name` (lower case).
[[nodiscard]] bool any_tag_matches(const Request& request, const FieldLines& field,
                                   std::string_view name, const EntityTag& own,
                                   TagComparison comparison);

/// True when `text` is exactly one entity tag, and matches `own` by the comparison.
[[nodiscard]] bool tag_matches(std::string_view text, const EntityTag& own,
                               TagComparison comparison);

}  // namespace sluice::http
