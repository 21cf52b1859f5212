// Marks the calls of what may not allocate after start, for a test's allocator.
#pragma once

namespace sluice::sim {

/// True on this thread while an engine or the Store runs.
extern thread_local bool inside_engine;

/// Runs one call of an engine or of the Store.
template <typename Call>
auto in_engine(Call call) {
  struct Scope {
    Scope() { inside_engine = true; }
    ~Scope() { inside_engine = false; }
  } scope;
  return call();
}

}  // namespace sluice::sim
