#include "sys/clock.h"

#include <doctest/doctest.h>

#include <chrono>

namespace pool_server {
namespace {

TEST_CASE("clock: microseconds of the monotonic clock") {
  const auto steady = [] {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  const auto before = steady();
  const std::int64_t now = monotonic_now();
  const auto after = steady();
  CHECK(before <= now);
  CHECK(now <= after);
}

}  // namespace
}  // namespace pool_server
