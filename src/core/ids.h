#pragma once

#include <cstdint>

namespace pool_server {

// Times are microseconds of the monotonic clock. The core never reads a clock: time is an argument.
using TimeUs = std::int64_t;
inline constexpr TimeUs kNever = INT64_MAX;

// Names a connection for as long as the process lives. A slot is reused, a generation is not: a
// result for a connection that has gone finds no one, and never the next client in its slot.
struct ConnectionId {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;

  bool operator==(const ConnectionId&) const = default;
};

}  // namespace pool_server
