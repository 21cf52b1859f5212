#include "cluster/http_calls.h"

#include <curl/curl.h>

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace sluice::cluster {
namespace {

// More than this is no answer of etcd to anything that is asked here: pages are limited.
constexpr size_t body_bytes_max = 256u << 20;
constexpr size_t line_bytes_max = 64u << 20;

constexpr long connect_ms_max = 1'000;

void set_up_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  ASSERT(code == CURLE_OK);
}

}  // namespace

struct HttpCalls::Call {
  uint64_t tag = 0;
  bool streams = false;
  std::string request;
  std::string received;
  std::deque<std::string>* lines = nullptr;
  CURL* easy = nullptr;

  ~Call() {
    if (easy != nullptr) curl_easy_cleanup(easy);
  }

  static size_t receive(char* data, size_t, size_t bytes, void* context) {
    Call& call = *static_cast<Call*>(context);
    const size_t limit = call.streams ? line_bytes_max : body_bytes_max;
    if (call.received.size() + bytes > limit) return 0;  // ends the call
    call.received.append(data, bytes);
    if (!call.streams) return bytes;
    size_t from = 0;
    for (size_t end; (end = call.received.find('\n', from)) != std::string::npos; from = end + 1) {
      call.lines->push_back(call.received.substr(from, end - from));
    }
    call.received.erase(0, from);
    return bytes;
  }
};

HttpCalls::HttpCalls(const TlsFiles& tls) : tls_(tls) {
  set_up_curl();
  multi_ = curl_multi_init();
  ASSERT(multi_ != nullptr);
  // "Expect: 100-continue" costs a round trip that etcd never uses.
  headers_ = curl_slist_append(nullptr, "Expect:");
  headers_ =
      curl_slist_append(static_cast<curl_slist*>(headers_), "Content-Type: application/json");
}

HttpCalls::~HttpCalls() {
  cancel_all();
  curl_multi_cleanup(multi_);
  curl_slist_free_all(static_cast<curl_slist*>(headers_));
}

void HttpCalls::add(std::unique_ptr<Call> call, const std::string& url) {
  CURL* easy = call->easy;
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_PROXY, "");  // never, whatever the environment says
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms_max);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->request.data());
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                   static_cast<curl_off_t>(call->request.size()));
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Call::receive);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, call.get());
  curl_easy_setopt(easy, CURLOPT_PRIVATE, call.get());
  if (!tls_.authority.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, tls_.authority.c_str());
  if (!tls_.certificate.empty()) curl_easy_setopt(easy, CURLOPT_SSLCERT, tls_.certificate.c_str());
  if (!tls_.key.empty()) curl_easy_setopt(easy, CURLOPT_SSLKEY, tls_.key.c_str());
  curl_multi_add_handle(multi_, easy);
  calls_.push_back(std::move(call));
}

void HttpCalls::start(uint64_t tag, const std::string& url, std::string body, Duration deadline) {
  auto call = std::make_unique<Call>();
  call->tag = tag;
  call->request = std::move(body);
  call->easy = curl_easy_init();
  ASSERT(call->easy != nullptr);
  curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS,
                   static_cast<long>(std::max<int64_t>(deadline.ms(), 1)));
  add(std::move(call), url);
}

void HttpCalls::start_stream(uint64_t tag, const std::string& url, std::string body) {
  auto call = std::make_unique<Call>();
  call->tag = tag;
  call->streams = true;
  call->lines = &lines_;
  call->request = std::move(body);
  call->easy = curl_easy_init();
  ASSERT(call->easy != nullptr);
  add(std::move(call), url);
}

void HttpCalls::cancel_all() {
  for (const auto& call : calls_) curl_multi_remove_handle(multi_, call->easy);
  calls_.clear();
  done_.clear();
  lines_.clear();
}

void HttpCalls::wait(Duration longest) {
  int running = 0;
  curl_multi_perform(multi_, &running);
  collect();
  if (!done_.empty() || !lines_.empty()) return;
  const int64_t ms = std::clamp<int64_t>(longest.ms(), 0, 60'000);
  curl_multi_poll(multi_, nullptr, 0, static_cast<int>(ms), nullptr);
  curl_multi_perform(multi_, &running);
  collect();
}

void HttpCalls::collect() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;
    const auto found = std::find_if(calls_.begin(), calls_.end(),
                                    [&](const auto& call) { return call->easy == easy; });
    ASSERT(found != calls_.end());
    Done done{.tag = (*found)->tag, .answered = code == CURLE_OK};
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &done.status);
    done.body = std::move((*found)->received);
    if (code != CURLE_OK) done.error = curl_easy_strerror(code);
    curl_multi_remove_handle(multi_, easy);
    calls_.erase(found);
    done_.push_back(std::move(done));
  }
}

bool HttpCalls::poll(Done& out) {
  if (done_.empty()) return false;
  out = std::move(done_.front());
  done_.pop_front();
  return true;
}

bool HttpCalls::poll_line(std::string& out) {
  if (lines_.empty()) return false;
  out = std::move(lines_.front());
  lines_.pop_front();
  return true;
}

void HttpCalls::wake() {
  curl_multi_wakeup(multi_);
}

}  // namespace sluice::cluster
