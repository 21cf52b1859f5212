#include "exchange.h"

#include <strings.h>

#include <charconv>

namespace sluice::perf {

namespace {

bool parse_number(std::string_view text, auto& value) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{};
}

}  // namespace

bool Exchange::parse_head() {
  constexpr std::string_view name = "content-length:";
  const std::string_view head = head_;
  if (!head.starts_with("HTTP/1.") || head.size() < 12) return false;
  if (!parse_number(head.substr(9, 3), status_)) return false;
  bool has_length = false;
  for (size_t start = head.find("\r\n"); start + 2 < head.size();
       start = head.find("\r\n", start)) {
    start += 2;
    if (strncasecmp(head.data() + start, name.data(), name.size()) == 0) {
      has_length = parse_number(head.substr(start + name.size()), length_);
    }
  }
  return has_length;
}

Progress Exchange::read(std::string_view bytes) {
  if (!in_body_) {
    const size_t before = head_.size();
    head_ += bytes.substr(0, head_bytes_max);
    const size_t end = head_.find("\r\n\r\n");
    if (end == std::string::npos) {
      return head_.size() < head_bytes_max ? Progress::more : Progress::bad;
    }
    head_.resize(end + 4);
    if (!parse_head()) return Progress::bad;
    in_body_ = true;
    bytes.remove_prefix(head_.size() - before);
  }
  body_bytes_ += bytes.size();
  if (body_bytes_ > length_) return Progress::bad;
  return body_bytes_ == length_ ? Progress::complete : Progress::more;
}

}  // namespace sluice::perf
