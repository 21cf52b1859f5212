#include "http/entity_tag.h"

#include "http/syntax.h"

namespace sluice::http {
namespace {

struct ParsedTag {
  bool is_weak = false;
  std::string_view opaque;  // with its quotes
  size_t length = 0;        // of the whole tag; 0: no tag
};

// entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE, at the start of `text`.
ParsedTag parse_tag(std::string_view text) {
  const bool is_weak = text.starts_with("W/");
  const size_t start = is_weak ? 2 : 0;
  if (start >= text.size() || text[start] != '"') return {};
  const size_t close = text.find('"', start + 1);
  if (close == std::string_view::npos) return {};
  const std::string_view opaque = text.substr(start, close + 1 - start);
  // etagc = %x21 / %x23-7E / obs-text: no space, no tab.
  if (opaque.find_first_of(" \t") != std::string_view::npos) return {};
  return {.is_weak = is_weak, .opaque = opaque, .length = close + 1};
}

bool matches(const ParsedTag& tag, const EntityTag& own, TagComparison comparison) {
  if (tag.is_weak && comparison == TagComparison::strong) return false;
  return tag.opaque == own.text();
}

enum class ListOutcome : uint8_t { no_match, match, malformed };

// "*" / #entity-tag
ListOutcome match_list(std::string_view list, const EntityTag& own, TagComparison comparison) {
  bool needs_comma = false;
  while (true) {
    list = trim_space(list);
    if (list.empty()) return ListOutcome::no_match;
    if (list[0] == ',') {
      needs_comma = false;
      list.remove_prefix(1);
      continue;
    }
    const ParsedTag tag = parse_tag(list);
    if (tag.length == 0 || needs_comma) return ListOutcome::malformed;
    if (matches(tag, own, comparison)) return ListOutcome::match;
    list.remove_prefix(tag.length);
    needs_comma = true;
  }
}

}  // namespace

EntityTag::EntityTag(uint64_t version) {
  constexpr std::string_view digits = "0123456789abcdef";
  text_.front() = text_.back() = '"';
  for (size_t i = 0; i < 16; ++i) text_[16 - i] = digits[(version >> (4 * i)) & 15];
}

bool tag_matches(std::string_view text, const EntityTag& own, TagComparison comparison) {
  const ParsedTag tag = parse_tag(text);
  return tag.length > 0 && tag.length == text.size() && matches(tag, own, comparison);
}

bool any_tag_matches(const Request& request, const FieldLines& field, std::string_view name,
                     const EntityTag& own, TagComparison comparison) {
  if (field.lines == 1) {
    if (field.first == "*") return true;
    return match_list(field.first, own, comparison) == ListOutcome::match;
  }
  // RFC 9110 section 5.3: several lines are one list. "*" cannot be a member of it.
  FieldCursor cursor(request.fields);
  std::string_view line_name;
  std::string_view value;
  while (cursor.next(line_name, value)) {
    if (!equals_any_case(line_name, name)) continue;
    const ListOutcome outcome = match_list(value, own, comparison);
    if (outcome != ListOutcome::no_match) return outcome == ListOutcome::match;
  }
  return false;
}

}  // namespace sluice::http
