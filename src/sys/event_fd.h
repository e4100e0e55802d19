#pragma once

#include "sys/unique_fd.h"

namespace pool_server {

// A wake-up that a thread sends to an epoll loop. Non-blocking, counts up, reset by clear().
class EventFd {
 public:
  EventFd();
  int fd() const { return fd_.get(); }

  // Any thread. A counter at its maximum (EAGAIN) is a wake-up already on its way, not an error.
  void signal();
  // Loop thread. An empty counter (EAGAIN) is a wake-up that someone else has seen, not an error.
  void clear();

 private:
  UniqueFd fd_;
};

}  // namespace pool_server
