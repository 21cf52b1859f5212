#include "cluster/etcd_messages.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "cluster/base64.h"

namespace sluice::cluster {
namespace {

using Json = nlohmann::json;
using replica::GenerationId;
using replica::NodeId;
using replica::Record;

constexpr size_t message_bytes_max = 200;

std::string hex(uint64_t value) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += digits[(value >> shift) & 15];
  return text;
}

std::optional<uint64_t> from_hex(std::string_view text) {
  uint64_t value = 0;
  if (text.size() != 16) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string hex(GenerationId generation) {
  return hex(generation.number) + hex(generation.publisher.value);
}

/// No exception, whatever stands there.
Json parse(std::string_view text) {
  return Json::parse(text, nullptr, false);
}

const Json* member(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

/// A 64-bit integer is a string there; a small one may be a number. Left out: 0.
std::optional<int64_t> integer(const Json& object, const char* name) {
  const Json* field = member(object, name);
  if (field == nullptr) return 0;
  if (field->is_number_integer()) return field->get<int64_t>();
  if (!field->is_string()) return std::nullopt;
  const auto& text = field->get_ref<const std::string&>();
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_true(const Json& object, const char* name) {
  const Json* field = member(object, name);
  return field != nullptr && field->is_boolean() && field->get<bool>();
}

std::optional<std::string> bytes(const Json& object, const char* name) {
  const Json* field = member(object, name);
  if (field == nullptr) return std::string();
  if (!field->is_string()) return std::nullopt;
  return from_base64(field->get_ref<const std::string&>());
}

std::optional<int64_t> revision_of(const Json& answer) {
  const Json* header = member(answer, "header");
  if (header == nullptr) return std::nullopt;
  const auto revision = integer(*header, "revision");
  if (!revision || *revision <= 0) return std::nullopt;  // etcd begins at 1
  return revision;
}

std::optional<KeyValue> key_value(const Json& object) {
  const auto key = bytes(object, "key");
  const auto value = bytes(object, "value");
  const auto revision = integer(object, "mod_revision");
  if (!object.is_object() || !key || key->empty() || !value || !revision) return std::nullopt;
  return KeyValue{*key, *value, *revision};
}

std::string text_field(const Json& object, const char* name) {
  const Json* field = member(object, name);
  return field != nullptr && field->is_string() ? field->get<std::string>() : std::string();
}

/// As JSON text. Bytes that are no UTF-8 cannot come: keys and values are base64.
std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<uint64_t> unsigned_field(const Json& object, const char* name) {
  const Json* field = member(object, name);
  if (field == nullptr || !field->is_string()) return std::nullopt;
  const auto& text = field->get_ref<const std::string&>();
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Entry understand_node(std::string_view id, std::string_view value) {
  const auto node = from_hex(id);
  const Json json = parse(value);
  const auto epoch = unsigned_field(json, "epoch");
  const auto room = unsigned_field(json, "room");
  if (!node || *node == 0 || !epoch || !room) return Unknown{};
  replica::NodeSeen seen{.node = {*node},
                         .epoch = *epoch,
                         .name = text_field(json, "name"),
                         .address = text_field(json, "address"),
                         .hold_bytes_max = *room};
  if (seen.name.size() > 255 || seen.address.size() > 255) return Unknown{};
  return seen;
}

}  // namespace

std::string Keys::node(NodeId node) const {
  return prefix_ + "node/" + hex(node.value);
}
std::string Keys::manifest(GenerationId generation) const {
  return prefix_ + "manifest/" + hex(generation);
}
std::string Keys::assignment(GenerationId generation) const {
  return prefix_ + "assignment/" + hex(generation);
}
std::string Keys::marks(GenerationId generation) const {
  return prefix_ + "mark/" + hex(generation) + "/";
}
std::string Keys::mark(GenerationId generation, NodeId node) const {
  return marks(generation) + hex(node.value);
}
std::string Keys::current(std::string_view path) const {
  return prefix_ + "current/" + std::string(path);
}

std::string Keys::of(const Record& record) const {
  if (const auto* one = std::get_if<replica::Manifest>(&record)) return manifest(one->generation);
  if (const auto* one = std::get_if<replica::Assignment>(&record)) {
    return assignment(one->generation);
  }
  if (const auto* one = std::get_if<replica::Mark>(&record))
    return mark(one->generation, one->node);
  return current(std::get<replica::Current>(record).path);
}

std::string end_of_prefix(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (prefix.empty()) return std::string(1, '\0');  // etcd: all keys from there on
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

Entry understand(const Keys& keys, std::string_view key, std::string_view value,
                 const replica::Digests& digests) {
  if (!key.starts_with(keys.prefix())) return Unknown{};
  const std::string_view rest = key.substr(keys.prefix().size());
  constexpr std::string_view node_part = "node/";
  if (rest.starts_with(node_part)) return understand_node(rest.substr(node_part.size()), value);
  Record record;
  if (replica::parse(as_byte_span(value), digests, record) != replica::RecordError::none) {
    return Unknown{};
  }
  // What the value says it is must be what its key says.
  if (keys.of(record) != key) return Unknown{};
  return record;
}

std::string node_value(const replica::NodeSeen& node) {
  return text_of(Json{{"name", node.name},
                      {"address", node.address},
                      {"epoch", std::to_string(node.epoch)},
                      {"room", std::to_string(node.hold_bytes_max)}});
}

std::string txn_request(const std::vector<Compare>& compares, const std::vector<Op>& then) {
  Json compare = Json::array();
  for (const Compare& one : compares) {
    Json json{{"key", to_base64(one.key)}, {"result", "EQUAL"}};
    if (one.what == Compare::What::value) {
      json["target"] = "VALUE";
      json["value"] = to_base64(one.value);
    } else {
      json["target"] = "MOD";
      json["mod_revision"] = std::to_string(one.mod_revision);
    }
    compare.push_back(std::move(json));
  }
  Json success = Json::array();
  for (const Op& op : then) {
    if (const auto* put = std::get_if<PutOp>(&op)) {
      Json json{{"key", to_base64(put->key)}, {"value", to_base64(put->value)}};
      if (put->lease != 0) json["lease"] = std::to_string(put->lease);
      success.push_back(Json{{"request_put", std::move(json)}});
    } else {
      const auto& gone = std::get<DeleteOp>(op);
      Json json{{"key", to_base64(gone.key)}};
      if (!gone.end.empty()) json["range_end"] = to_base64(gone.end);
      success.push_back(Json{{"request_delete_range", std::move(json)}});
    }
  }
  return text_of(Json{{"compare", std::move(compare)}, {"success", std::move(success)}});
}

std::string range_request(std::string_view key, std::string_view end, int64_t revision,
                          int64_t limit) {
  Json json{{"key", to_base64(key)}, {"limit", std::to_string(limit)}};
  if (!end.empty()) json["range_end"] = to_base64(end);
  if (revision != 0) json["revision"] = std::to_string(revision);
  return text_of(json);
}

std::string watch_request(std::string_view prefix, int64_t revision) {
  return text_of(Json{{"create_request",
                       {{"key", to_base64(prefix)},
                        {"range_end", to_base64(end_of_prefix(std::string(prefix)))},
                        {"start_revision", std::to_string(revision)}}}});
}

std::string grant_request(int64_t ttl_s) {
  return text_of(Json{{"TTL", std::to_string(ttl_s)}});
}

std::string lease_request(int64_t lease) {
  return text_of(Json{{"ID", std::to_string(lease)}});
}

std::optional<Range> parse_range(std::string_view text) {
  const Json json = parse(text);
  const auto revision = revision_of(json);
  if (!revision) return std::nullopt;
  Range range{.revision = *revision, .more = is_true(json, "more")};
  const Json* keys = member(json, "kvs");
  if (keys == nullptr) return range;
  if (!keys->is_array()) return std::nullopt;
  for (const Json& one : *keys) {
    auto key = key_value(one);
    if (!key) return std::nullopt;
    range.keys.push_back(std::move(*key));
  }
  return range;
}

std::optional<bool> parse_txn(std::string_view text) {
  const Json json = parse(text);
  if (!revision_of(json)) return std::nullopt;
  return is_true(json, "succeeded");
}

std::optional<WatchMessage> parse_watch(std::string_view text) {
  const Json json = parse(text);
  const Json* result = member(json, "result");
  if (result == nullptr) return std::nullopt;
  const auto revision = revision_of(*result);
  if (!revision) return std::nullopt;
  WatchMessage message{.revision = *revision,
                       .created = is_true(*result, "created"),
                       .canceled = is_true(*result, "canceled")};
  const Json* events = member(*result, "events");
  if (events == nullptr) return message;
  if (!events->is_array()) return std::nullopt;
  for (const Json& event : *events) {
    const Json* kv = member(event, "kv");
    if (kv == nullptr) return std::nullopt;
    auto key = key_value(*kv);
    if (!key) return std::nullopt;
    message.changes.push_back({text_field(event, "type") == "DELETE", std::move(*key)});
  }
  return message;
}

std::optional<int64_t> parse_grant(std::string_view text) {
  const auto id = integer(parse(text), "ID");
  if (!id || *id == 0) return std::nullopt;
  return id;
}

std::optional<int64_t> parse_keepalive(std::string_view text) {
  // A stream of one message.
  const Json json = parse(text.substr(0, text.find('\n')));
  const Json* result = member(json, "result");
  if (result == nullptr) return std::nullopt;
  return integer(*result, "TTL");
}

Failure parse_failure(std::string_view text) {
  const Json json = parse(text);
  Failure failure;
  if (const auto code = integer(json, "code"); code && *code != 0) failure.code = *code;
  failure.message = text_field(json, "error").substr(0, message_bytes_max);
  std::replace_if(
      failure.message.begin(), failure.message.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return failure;
}

}  // namespace sluice::cluster
