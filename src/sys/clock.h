#pragma once

#include <cstdint>

namespace pool_server {

// The monotonic clock in µs. Any thread.
std::int64_t monotonic_now();
// Unix time in µs, which may jump: for telling when something was, not for how long. Any thread.
std::int64_t unix_now();

}  // namespace pool_server
