#include "sys/clock.h"

#include <ctime>

namespace pool_server {

namespace {

std::int64_t now(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000 + time.tv_nsec / 1000;
}

}  // namespace

std::int64_t monotonic_now() {
  return now(CLOCK_MONOTONIC);
}

std::int64_t unix_now() {
  return now(CLOCK_REALTIME);
}

}  // namespace pool_server
