#include "control/replica_report.h"

#include <fmt/format.h>

#include "control/quantity.h"

namespace sluice::control {
namespace {

std::string text(const Json& row, const char* key) {
  const auto at = row.find(key);
  return at != row.end() && at->is_string() ? at->get<std::string>() : "";
}

uint64_t number(const Json& row, const char* key) {
  const auto at = row.find(key);
  return at != row.end() && at->is_number_unsigned() ? at->get<uint64_t>() : 0;
}

std::string state_of(const Json& row) {
  if (number(row, "degraded") != 0) return "DEGRADED";
  return number(row, "current") != 0 ? "current" : "-";
}

std::string links_of(const Json& row) {
  std::string links;
  if (number(row, "rdma") != 0) links += "rdma";
  if (number(row, "tcp") != 0) links += links.empty() ? "tcp" : "+tcp";
  if (!links.empty()) return links;
  return number(row, "alive") != 0 ? "no link" : "gone";
}

}  // namespace

Json join_paths(const Json& rows) {
  Json out = rows;
  for (Json& row : out) {
    const auto path = row.find("path");
    if (path == row.end() || !path->is_array()) continue;
    std::string whole;
    for (const Json& part : *path) whole += part.is_string() ? part.get<std::string>() : "";
    *path = whole;
  }
  return out;
}

std::string format_replicas(const Json& rows) {
  std::string out =
      fmt::format("{:<9} {:>6} {:>11} {:<18} {}\n", "STATE", "COPIES", "SIZE", "ETAG", "PATH");
  for (const Json& row : rows) {
    out += fmt::format(
        "{:<9} {:>6} {:>11} {:<18} {}\n", state_of(row),
        fmt::format("{}/{}", number(row, "copies_verified"), number(row, "copies_asked")),
        format_size(number(row, "size")), '"' + text(row, "etag") + '"', text(row, "path"));
    out += fmt::format("{:<9} verified on: {}; to be held by: {}\n", "",
                       text(row, "verified").empty() ? "none" : text(row, "verified"),
                       text(row, "holders"));
  }
  return out;
}

std::string format_peers(const Json& rows) {
  std::string out = fmt::format("{:<16} {:<24} {:<9} {:>10} {:>12} {:>12}  {}\n", "NODE", "ADDRESS",
                                "LINKS", "RTT", "SENT", "RECEIVED", "LAST LINK ENDED");
  for (const Json& row : rows) {
    const std::string name = text(row, "name").empty() ? text(row, "node") : text(row, "name");
    out += fmt::format("{:<16} {:<24} {:<9} {:>10} {:>12} {:>12}  {}\n", name, text(row, "address"),
                       links_of(row), fmt::format("{} us", number(row, "srtt_us")),
                       format_size(number(row, "bytes_to")), format_size(number(row, "bytes_from")),
                       text(row, "last_end"));
    const std::string why = text(row, "why_no_rdma");
    if (!why.empty()) out += fmt::format("{:<16} no RDMA: {}\n", "", why);
  }
  return out;
}

std::string format_transfers(const Json& rows) {
  std::string out = fmt::format("{:<4} {:<16} {:<5} {:>6} {:>11} {:>13} {:>9}  {}\n", "", "PEER",
                                "OVER", "DONE", "SIZE", "RATE", "LAG", "PATH");
  for (const Json& row : rows) {
    const uint64_t total = number(row, "bytes_total");
    const uint64_t percent = total == 0 ? 100 : number(row, "bytes_done") * 100 / total;
    out += fmt::format("{:<4} {:<16} {:<5} {:>5}% {:>11} {:>13} {:>9}  {}\n",
                       text(row, "direction"), text(row, "peer"), text(row, "transport"), percent,
                       format_size(total), format_size(number(row, "bytes_per_s")) + "/s",
                       fmt::format("{} ms", number(row, "lag_ms")), text(row, "path"));
  }
  return out;
}

std::string format_publication(const Json& publication) {
  const std::string state = text(publication, "state");
  const std::string detail = text(publication, "detail");
  return fmt::format(
      "{}{}{}{}", state == "degraded" ? "DEGRADED" : state,
      number(publication, "copies_asked") == 0
          ? ""
          : fmt::format(", {} of {} copies verified", number(publication, "copies_verified"),
                        number(publication, "copies_asked")),
      detail.empty() ? "" : ": ", detail);
}

}  // namespace sluice::control
