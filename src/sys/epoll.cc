#include "sys/epoll.h"

#include <cerrno>

namespace pool_server {

Epoll::Epoll() : fd_(checked_fd(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")) {}

void Epoll::add(int fd, std::uint32_t events, void* data) {
  control(EPOLL_CTL_ADD, fd, events, data);
}

void Epoll::modify(int fd, std::uint32_t events, void* data) {
  control(EPOLL_CTL_MOD, fd, events, data);
}

void Epoll::remove(int fd) noexcept {
  (void)::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Epoll::control(int operation, int fd, std::uint32_t events, void* data) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = data;
  if (::epoll_ctl(fd_.get(), operation, fd, &event) != 0) throw_errno("epoll_ctl");
}

std::span<epoll_event> Epoll::wait(std::span<epoll_event> events, int timeout_ms) {
  const int count =
      ::epoll_wait(fd_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  if (count < 0 && errno != EINTR) throw_errno("epoll_wait");
  return events.first(count < 0 ? 0 : static_cast<std::size_t>(count));
}

}  // namespace pool_server
