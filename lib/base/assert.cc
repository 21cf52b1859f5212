#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace sluice {

void assert_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "sluice: ASSERT(%s) failed at %s:%d\n", expression, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace sluice
