#include "sys/event_fd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstdint>

namespace pool_server {

EventFd::EventFd() : fd_(checked_fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd")) {}

void EventFd::signal() {
  const std::uint64_t one = 1;
  while (::write(fd_.get(), &one, sizeof one) < 0) {
    if (errno == EINTR) continue;
    assert(errno == EAGAIN);
    return;
  }
}

void EventFd::clear() {
  std::uint64_t count = 0;
  while (::read(fd_.get(), &count, sizeof count) < 0) {
    if (errno == EINTR) continue;
    assert(errno == EAGAIN);
    return;
  }
}

}  // namespace pool_server
