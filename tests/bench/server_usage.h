#pragma once

#include <cstdint>

namespace pool_server::bench {

// What a process has used so far, from /proc. Throws std::runtime_error when it has gone.
struct ServerUsage {
  double cpu_seconds = 0;              // of all threads, user and system
  std::uint64_t context_switches = 0;  // of the threads that live, voluntary and not
};
ServerUsage usage_of(int pid);

// The resident memory in bytes.
std::uint64_t resident_bytes(int pid);

}  // namespace pool_server::bench
