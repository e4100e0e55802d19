#pragma once

#include <unistd.h>

#include <new>

namespace pool_server {

// Gives memory that was freed back to the system; malloc keeps much of it otherwise. Takes time in
// the number of free pieces.
void release_free_memory();

// µs, between two tries of what the kernel has no memory for: who waits, does not spin.
inline constexpr unsigned kPauseWithoutMemory = 1'000;

// What `step` returns, once there is memory for it: where it throws std::bad_alloc it must have
// done nothing that cannot be done again. For what has no later; it waits half a second at the
// most.
template <class Step>
auto once_there_is_memory(Step step) {
  constexpr int kTries = 50;
  constexpr unsigned kPause = 10'000;  // µs
  for (int tried = 1; tried < kTries; ++tried) {
    try {
      return step();
    } catch (const std::bad_alloc&) {
      ::usleep(kPause);
    }
  }
  return step();
}

}  // namespace pool_server
