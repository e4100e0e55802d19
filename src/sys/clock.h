#pragma once

#include <cstdint>

namespace pool_server {

// The monotonic clock in µs. Any thread.
std::int64_t monotonic_now();

}  // namespace pool_server
