#include "sys/event_fd.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <cstdint>

#include "support/descriptors.h"

namespace pool_server {
namespace {

bool is_readable(int fd) {
  pollfd wanted{fd, POLLIN, 0};
  return ::poll(&wanted, 1, 0) == 1;
}

TEST_CASE("event fd: readable from signal to clear, however often it was signalled") {
  EventFd event;
  CHECK(is_nonblocking(event.fd()));
  CHECK(closes_on_exec(event.fd()));
  CHECK_FALSE(is_readable(event.fd()));
  event.signal();
  event.signal();
  CHECK(is_readable(event.fd()));
  event.clear();
  CHECK_FALSE(is_readable(event.fd()));
}

TEST_CASE("event fd: clearing an empty one is no error") {
  EventFd event;
  event.clear();
  event.clear();
  event.signal();
  CHECK(is_readable(event.fd()));
}

TEST_CASE("eventfd at its maximum: a signal is a wake-up that is on its way already") {
  EventFd event;
  const std::uint64_t maximum = UINT64_MAX - 1;
  REQUIRE(::write(event.fd(), &maximum, sizeof maximum) == sizeof maximum);
  event.signal();  // EAGAIN, and no blocking
  CHECK(is_readable(event.fd()));
  event.clear();
  CHECK_FALSE(is_readable(event.fd()));
  event.signal();
  CHECK(is_readable(event.fd()));
}

}  // namespace
}  // namespace pool_server
