#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <span>

#include "sys/unique_fd.h"

namespace pool_server {

// An epoll instance, level-triggered. Errors other than EINTR are broken invariants or lack of
// memory and throw std::system_error.
class Epoll {
 public:
  Epoll();

  void add(int fd, std::uint32_t events, void* data);
  void modify(int fd, std::uint32_t events, void* data);
  // Before the descriptor is closed: a duplicate of it in another process would keep it in here.
  // If it fails all the same, there is nothing better to do: who removes goes away.
  void remove(int fd) noexcept;

  // Fills `events` and returns the part filled; empty at the time-out or when a signal came.
  // timeout_ms < 0 waits without end.
  std::span<epoll_event> wait(std::span<epoll_event> events, int timeout_ms);

 private:
  void control(int operation, int fd, std::uint32_t events, void* data);

  UniqueFd fd_;
};

}  // namespace pool_server
