// What a request and a response head cost.

#include <benchmark/benchmark.h>

#include <array>
#include <string_view>

#include "cycles.h"
#include "http/head.h"
#include "http/request_parser.h"
#include "http/response.h"
#include "http/target.h"

namespace sluice::perf {
namespace {

constexpr std::string_view wrk_head = "GET /small HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";
constexpr std::string_view browser_head =
    "GET /video/720p/segment-00042.m4s?session=9f2c HTTP/1.1\r\n"
    "Host: media.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: */*\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Range: bytes=1048576-2097151\r\n"
    "Origin: https://media.example.com\r\n"
    "Connection: keep-alive\r\n"
    "Referer: https://media.example.com/watch/1234\r\n\r\n";

void parse(benchmark::State& state, std::string_view head) {
  Cycles cycles;
  double heads = 0;
  for (auto _ : state) {
    cycles.start();
    for (int i = 0; i < 16; ++i) {
      http::ParseProgress progress;
      http::Request request;
      benchmark::DoNotOptimize(http::parse_request(head, progress, request));
      benchmark::DoNotOptimize(request);
    }
    cycles.stop();
    heads += 16;
  }
  cycles.report(state, "cycles/head", heads);
}
BENCHMARK_CAPTURE(parse, wrk, wrk_head);
BENCHMARK_CAPTURE(parse, browser, browser_head);

// From a parsed request to the bytes of its response head.
void answer(benchmark::State& state, std::string_view head) {
  http::ParseProgress progress;
  http::Request request;
  (void)http::parse_request(head, progress, request);
  const http::DateCache date(1'700'000'000);
  const http::Resource resource{.size_bytes = 4u << 20,
                                .modified_unix_s = 1'600'000'000,
                                .etag = 0x1234,
                                .media_type = "video/mp4"};
  std::array<char, http::emit_max_bytes> out;
  Cycles cycles;
  double heads = 0;
  for (auto _ : state) {
    cycles.start();
    for (int i = 0; i < 16; ++i) {
      std::array<char, 2048> path;
      benchmark::DoNotOptimize(http::resolve_target(request, path));
      const http::ResponsePlan plan =
          http::plan_response(request, resource, {.now_unix_s = date.unix_s(), .keep_alive = true});
      benchmark::DoNotOptimize(http::emit_response(plan, date, out));
    }
    cycles.stop();
    heads += 16;
  }
  cycles.report(state, "cycles/head", heads);
}
BENCHMARK_CAPTURE(answer, wrk, wrk_head);
BENCHMARK_CAPTURE(answer, browser, browser_head);

}  // namespace
}  // namespace sluice::perf
