#include "sys/log_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <string>

namespace pool_server {

namespace {

bool write_to(int fd, std::string_view text) {
  return ::write(fd, text.data(), text.size()) >= 0;
}

}  // namespace

void append_to_stderr() {
  struct stat status {};
  if (::fstat(STDERR_FILENO, &status) != 0 || !S_ISREG(status.st_mode)) return;
  const int flags = ::fcntl(STDERR_FILENO, F_GETFL);
  // Of the description, and so for all who share it; it serves them, too.
  if (flags >= 0) (void)::fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND);
}

// Opened anew, since O_NONBLOCK set on the inherited description would hit all who share it: the
// shell's terminal, or another process's pipe.
int open_stderr() {
  return ::open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

LogFd::LogFd() : fd_(open_stderr()) {
  if (fd_.valid()) return;
  struct stat status {};
  const bool known = ::fstat(STDERR_FILENO, &status) == 0;
  if (known && S_ISREG(status.st_mode)) {
    kind_ = Kind::kFile;
  } else if (known && S_ISSOCK(status.st_mode)) {
    kind_ = Kind::kSocket;
  } else {
    kind_ = Kind::kOther;
  }
}

bool LogFd::write(std::string_view line) {
  switch (kind_) {
    case Kind::kOpenedAnew:
      return write_to(fd_.get(), line);
    case Kind::kFile:
      return write_to(STDERR_FILENO, line);
    case Kind::kSocket:
      return ::send(STDERR_FILENO, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
    case Kind::kOther:
      break;
  }
  pollfd room{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  const timespec now{};
  if (::ppoll(&room, 1, &now, nullptr) != 1 || (room.revents & POLLOUT) == 0) return false;
  if (line.size() <= PIPE_BUF) return write_to(STDERR_FILENO, line);
  return write_to(STDERR_FILENO, std::string(line.substr(0, PIPE_BUF - 1)).append("\n"));
}

}  // namespace pool_server
