#include "nic/dpdk_log.h"

#include <dlfcn.h>
#include <rte_log.h>

#include <cstdarg>
#include <cstdlib>

namespace sluice::nic {
namespace {

bool is_verbose = false;
FILE* bpf_stream = nullptr;  // where what libbpf and libxdp print goes

// enum libbpf_print_level and libxdp_print_level: warnings, then notices, then debugging.
constexpr int bpf_warning = 0;

extern "C" int print_bpf(int level, const char* format, va_list arguments) {
  if (bpf_stream == nullptr || (level != bpf_warning && !is_verbose)) return 0;
  return std::vfprintf(bpf_stream, format, arguments);
}

/// Both libraries come with the driver, by dlopen: they are there or they are not needed.
/// Source: libbpf_set_print (bpf/libbpf.h), libxdp_set_print (xdp/libxdp.h).
void listen_to_bpf() {
  using Print = int (*)(int, const char*, va_list);
  using SetPrint = Print (*)(Print);
  struct Listener {
    const char* library;
    const char* function;
  };
  for (const Listener& one :
       {Listener{"libbpf.so.1", "libbpf_set_print"}, Listener{"libxdp.so.1", "libxdp_set_print"}}) {
    void* library = dlopen(one.library, RTLD_NOW | RTLD_NOLOAD);
    if (library == nullptr) continue;
    if (auto set = reinterpret_cast<SetPrint>(dlsym(library, one.function)); set != nullptr) {
      set(print_bpf);
    }
    dlclose(library);
  }
}

// The end of a long story is where the reason stands.
constexpr size_t said_max = 400;

}  // namespace

DpdkLog::DpdkLog() : stream_(open_memstream(&text_, &length_)) {
  if (stream_ == nullptr) return;
  rte_openlog_stream(stream_);
  listen_to_bpf();
  bpf_stream = stream_;
}

DpdkLog::~DpdkLog() {
  rte_openlog_stream(nullptr);
  bpf_stream = nullptr;
  if (stream_ == nullptr) return;
  std::fclose(stream_);
  if (is_verbose && length_ > 0) std::fwrite(text_, 1, length_, stderr);
  std::free(text_);
}

std::string DpdkLog::said() {
  if (stream_ == nullptr) return {};
  std::fflush(stream_);
  std::string line;
  for (size_t i = 0; i < length_; ++i) {
    const bool is_break = text_[i] == '\n' || text_[i] == '\r' || text_[i] == '\t';
    if (!is_break) {
      line += text_[i];
    } else if (!line.empty() && line.back() != ' ') {
      line += "; ";
    }
  }
  while (!line.empty() && (line.back() == ' ' || line.back() == ';')) line.pop_back();
  if (line.empty()) return {};
  if (line.size() > said_max) line = "..." + line.substr(line.size() - said_max);
  return " (" + line + ")";
}

void DpdkLog::set_verbose(bool verbose) {
  is_verbose = verbose;
}

}  // namespace sluice::nic
