#include "http/response.h"

#include <algorithm>
#include <optional>

#include "http/entity_tag.h"
#include "http/http_date.h"

namespace sluice::http {
namespace {

enum class Verdict : uint8_t { proceed, not_modified, failed };

// The date of a field that holds exactly one; nothing else counts (RFC 9110 section 13.1.3).
std::optional<int64_t> date_of(const FieldLines& field, int64_t now_unix_s) {
  if (field.lines != 1) return std::nullopt;
  return parse_http_date(field.first, now_unix_s);
}

// RFC 9110 section 13.2.2, steps 1 to 4, for GET and HEAD of a representation that exists.
Verdict judge_preconditions(const Request& request, const Resource& resource,
                            int64_t modified_unix_s, int64_t now_unix_s) {
  const EntityTag own(resource.etag);
  if (request.if_match.is_present()) {
    if (!any_tag_matches(request, request.if_match, "if-match", own, TagComparison::strong)) {
      return Verdict::failed;
    }
  } else if (request.if_unmodified_since.is_present()) {
    const std::optional<int64_t> since = date_of(request.if_unmodified_since, now_unix_s);
    if (since && modified_unix_s > *since) return Verdict::failed;
  }
  if (request.if_none_match.is_present()) {
    if (any_tag_matches(request, request.if_none_match, "if-none-match", own,
                        TagComparison::weak)) {
      return Verdict::not_modified;
    }
  } else if (request.if_modified_since.is_present()) {
    const std::optional<int64_t> since = date_of(request.if_modified_since, now_unix_s);
    if (since && modified_unix_s <= *since) return Verdict::not_modified;
  }
  return Verdict::proceed;
}

// RFC 9110 section 13.1.5.
bool if_range_holds(const Request& request, const Resource& resource, int64_t now_unix_s) {
  if (!request.if_range.is_present()) return true;
  if (request.if_range.lines != 1) return false;
  const std::string_view value = request.if_range.first;
  if (value.starts_with('"') || value.starts_with("W/")) {
    return tag_matches(value, EntityTag(resource.etag), TagComparison::strong);
  }
  // A date must match exactly, and be strong: a client may use it only when it got it at least a
  // second after the modification (section 8.8.2.2). One of this very second cannot be that.
  const std::optional<int64_t> date = parse_http_date(value, now_unix_s);
  return date && *date == resource.modified_unix_s && *date < now_unix_s;
}

}  // namespace

MethodPlan plan_method(const Request& request) {
  MethodPlan plan;
  const bool has_content =
      request.body == BodyFraming::chunked ||
      (request.body == BodyFraming::content_length && request.content_length > 0);
  const bool has_expectation = request.expects_continue || request.expects_unknown;
  plan.keep_alive = request.keep_alive && !(has_content && has_expectation);

  const auto refuse = [&plan](Status status) {
    plan.action = MethodAction::refuse;
    plan.status = status;
  };
  switch (request.method) {
    case Method::get:
    case Method::head:
      break;
    case Method::options:
      plan.action = MethodAction::options;
      break;
    case Method::unknown:
      refuse(Status::not_implemented);
      break;
    case Method::connect:
      // What follows may be meant for the tunnel that there will not be: not for this parser.
      plan.keep_alive = false;
      refuse(Status::method_not_allowed);
      break;
    default:
      refuse(Status::method_not_allowed);
      break;
  }
  if (plan.action != MethodAction::refuse && request.expects_unknown) {
    refuse(Status::expectation_failed);
  }
  if (request.content_length > body_drain_max_bytes) {
    plan.keep_alive = false;
    if (plan.action != MethodAction::refuse) refuse(Status::content_too_large);
  }
  return plan;
}

ResponsePlan plan_response(const Request& request, const Resource& resource,
                           const PlanOptions& options) {
  ResponsePlan plan;
  plan.keep_alive = options.keep_alive;
  plan.says_keep_alive = options.keep_alive && request.minor_version == 0;
  plan.is_head = request.method == Method::head;
  plan.resource = resource;
  plan.selected = {0, resource.size_bytes};

  // What Last-Modified will say: never later than Date.
  const int64_t modified_unix_s = std::min(resource.modified_unix_s, options.now_unix_s);
  const Verdict verdict =
      judge_preconditions(request, resource, modified_unix_s, options.now_unix_s);
  if (verdict != Verdict::proceed) {
    plan.status = verdict == Verdict::failed ? Status::precondition_failed : Status::not_modified;
    return plan;
  }
  // RFC 9110 section 14.2: Range is for GET only. Twice is not a Range.
  if (request.method == Method::get && request.range.lines == 1 &&
      if_range_holds(request, resource, options.now_unix_s)) {
    const RangeResult result = parse_range(request.range.first, resource.size_bytes);
    if (result.outcome == RangeOutcome::unsatisfiable) {
      plan.status = Status::range_not_satisfiable;
      return plan;
    }
    if (result.outcome == RangeOutcome::satisfiable) {
      plan.status = Status::partial_content;
      plan.selected = result.range;
      plan.is_after_if_range = request.if_range.is_present();
    }
  }
  if (!plan.is_head) plan.body = plan.selected;
  return plan;
}

}  // namespace sluice::http
