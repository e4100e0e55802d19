#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "sys/socket_address.h"
#include "sys/unique_fd.h"

namespace pool_server {

inline bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}
inline bool is_nonblocking(int fd) {
  return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}
inline bool closes_on_exec(int fd) {
  return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

// Two connected stream sockets; `flags` as in socket(2).
inline std::pair<UniqueFd, UniqueFd> socket_pair(int flags = SOCK_NONBLOCK) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, ends) != 0) {
    throw_errno("socketpair");
  }
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

inline std::pair<UniqueFd, UniqueFd> pipe_pair() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe2");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// Of a TCP socket over IPv4.
inline int local_port(int socket) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw_errno("getsockname");
  }
  return ntohs(address.sin_port);
}

// A blocking client of whatever listens on `listener`.
inline UniqueFd connect_to(int listener) {
  sockaddr_storage address{};
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  if (::getsockname(listener, raw, &length) != 0) throw_errno("getsockname");
  UniqueFd fd = checked_fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  if (::connect(fd.get(), raw, length) != 0) throw_errno("connect");
  return fd;
}

inline ListeningSocket listen_on_any_port() {
  return std::move(listen_on(parse_listen_address("127.0.0.1:0")).front());
}

// A new directory for socket files, gone with what is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    if (::mkdtemp(path_.data()) == nullptr) throw_errno("mkdtemp");
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    ::unlink(file("socket").c_str());
    ::rmdir(path_.c_str());
  }
  // There is room for one, named "socket".
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = "/tmp/pool-server-test.XXXXXX";
};

// An environment variable as it is to be for the while.
class ScopedVariable {
 public:
  ScopedVariable(std::string name, const std::optional<std::string>& value)
      : name_(std::move(name)) {
    if (const char* old = std::getenv(name_.c_str())) old_ = old;
    set(value);
  }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;
  ~ScopedVariable() { set(old_); }

 private:
  void set(const std::optional<std::string>& value) {
    if (value) {
      ::setenv(name_.c_str(), value->c_str(), 1);
    } else {
      ::unsetenv(name_.c_str());
    }
  }

  std::string name_;
  std::optional<std::string> old_;
};

// Makes `fd` refer to what `to` refers to, for the while.
class ScopedRedirection {
 public:
  ScopedRedirection(int fd, int to) : fd_(fd), saved_(::fcntl(fd, F_DUPFD_CLOEXEC, 100)) {
    if (::dup2(to, fd) < 0) throw_errno("dup2");
  }
  ScopedRedirection(const ScopedRedirection&) = delete;
  ScopedRedirection& operator=(const ScopedRedirection&) = delete;
  ~ScopedRedirection() {
    if (saved_.valid()) {
      ::dup2(saved_.get(), fd_);
    } else {
      ::close(fd_);
    }
  }

 private:
  int fd_;
  UniqueFd saved_;
};

// No descriptor can be opened for the while.
class NoDescriptorsLeft {
 public:
  NoDescriptorsLeft() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const UniqueFd lowest_free = checked_fd(::dup(STDOUT_FILENO), "dup");
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(lowest_free.get());
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) throw_errno("setrlimit");
  }
  NoDescriptorsLeft(const NoDescriptorsLeft&) = delete;
  NoDescriptorsLeft& operator=(const NoDescriptorsLeft&) = delete;
  ~NoDescriptorsLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace pool_server
