#include "sys/socket.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "sys/clock.h"

namespace pool_server {

namespace {

IoResult failed_io() {
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {IoStatus::kAgain, 0};
  return {IoStatus::kError, 0};
}

void add_flag(int fd, int get, int set, int flag) {
  const int flags = ::fcntl(fd, get);
  if (flags >= 0 && (flags & flag) != 0) return;
  if (flags < 0 || ::fcntl(fd, set, flags | flag) < 0) throw_errno("fcntl");
}

}  // namespace

IoResult receive(int fd, std::span<char> buffer) {
  for (;;) {
    const ssize_t count = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (count > 0) return {IoStatus::kOk, static_cast<std::size_t>(count)};
    if (count == 0) return {IoStatus::kEof, 0};
    if (errno != EINTR) return failed_io();
  }
}

IoResult send(int fd, std::string_view bytes) {
  for (;;) {
    const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) return {IoStatus::kOk, static_cast<std::size_t>(count)};
    if (errno != EINTR) return failed_io();
  }
}

AcceptResult accept_connection(int listener) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return {AcceptStatus::kOk, UniqueFd(fd), 0};
    switch (errno) {
      case EINTR:
        continue;
      case EAGAIN:
        return {};
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        return {AcceptStatus::kNoResources, UniqueFd(), errno};
      case EBADF:
      case EINVAL:  // shut down
      case ENOTSOCK:
        return {AcceptStatus::kDead, UniqueFd(), errno};
      case ECONNABORTED:
      // accept(2): errors of the connection itself, of whatever protocol, are passed on here.
      case ECONNRESET:
      case EHOSTDOWN:
      case EHOSTUNREACH:
      case ENETDOWN:
      case ENETUNREACH:
      case ENONET:
      case ENOPROTOOPT:
      case EPROTO:
      case ETIMEDOUT:
        return {AcceptStatus::kGone, UniqueFd(), errno};
      default:  // EPERM and EACCES, and what is unknown: the connection is still there
        return {AcceptStatus::kRefused, UniqueFd(), errno};
    }
  }
}

std::uint64_t socket_cookie(int fd) {
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  if (::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) != 0) return 0;
  return cookie;
}

std::size_t unacknowledged_output(int fd) {
  int bytes = 0;
  if (::ioctl(fd, SIOCOUTQ, &bytes) != 0 || bytes < 0) return 0;
  return static_cast<std::size_t>(bytes);
}

std::size_t undelivered_output(int fd) {
  unsigned char state = 0;  // the first member of a tcp_info
  socklen_t length = sizeof state;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length) != 0) return 0;  // not TCP
  return state == TCP_CLOSE ? 0 : unacknowledged_output(fd);
}

std::size_t unread_input(int fd) {
  int bytes = 0;
  if (::ioctl(fd, FIONREAD, &bytes) != 0) return 0;
  return static_cast<std::size_t>(std::max(bytes, 0));
}

bool wait_for_input(int fd, std::int64_t deadline) {
  for (;;) {
    const std::int64_t left = std::max<std::int64_t>(deadline - monotonic_now(), 0);
    const timespec time{.tv_sec = left / 1'000'000, .tv_nsec = left % 1'000'000 * 1'000};
    pollfd input{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = ::ppoll(&input, 1, &time, nullptr);
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

void shut_down(int fd) {
  (void)::shutdown(fd, SHUT_RDWR);
}

void shut_down_sending(int fd) {
  // Fails only when the peer has gone already, which the next receive tells.
  (void)::shutdown(fd, SHUT_WR);
}

void end_in_good_order(int fd) {
  shut_down_sending(fd);
  constexpr int kMostPieces = 256;  // 1 MiB; one that sends for ever is reset
  std::array<char, 4096> piece;
  for (int i = 0; i < kMostPieces; ++i) {
    if (::recv(fd, piece.data(), piece.size(), MSG_DONTWAIT) <= 0) break;
  }
  ::explicit_bzero(piece.data(), piece.size());  // it may be secret
}

void set_nonblocking(int fd) {
  add_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK);
}

void set_close_on_exec(int fd) {
  add_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC);
}

void set_no_delay(int fd) {
  const int on = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void set_keep_alive(int fd) {
  const int idle = 60;      // s
  const int interval = 10;  // s
  const int probes = 3;
  const int on = 1;
  // The first fails where it is not TCP.
  if (::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle) != 0) return;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) throw_errno("getrlimit");
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised = limit;
    raised.rlim_cur = raised.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return static_cast<std::size_t>(limit.rlim_cur);
}

void reserve_descriptors(std::size_t count) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < 2 || count < 2) return;
  const std::size_t highest = std::min<std::size_t>(count, limit.rlim_cur) - 1;
  const UniqueFd high(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, static_cast<int>(highest)));
}

}  // namespace pool_server
