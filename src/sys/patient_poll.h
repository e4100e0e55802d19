#pragma once

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <span>

#include "sys/memory.h"

namespace pool_server {

// poll(2) for who tries again when it fails: without memory in the kernel it would do so at once,
// over and over, and so pauses first. Negative: nothing is known, `ends` is as it was.
inline int patient_poll(std::span<pollfd> ends, int timeout_ms) {
  const int ready = ::poll(ends.data(), ends.size(), timeout_ms);
  if (ready < 0 && errno != EINTR) ::usleep(kPauseWithoutMemory);
  return ready;
}

}  // namespace pool_server
