// Base64 (RFC 4648 section 4): how etcd's JSON gateway carries bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::cluster {

[[nodiscard]] std::string to_base64(std::string_view bytes);
/// Nothing where `text` is not base64 with its padding.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

}  // namespace sluice::cluster
