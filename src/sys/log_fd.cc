#include "sys/log_fd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace pool_server {

// Opened anew, since O_NONBLOCK set on the inherited description would hit all who share it: the
// shell's terminal, or another process's pipe.
int open_stderr() {
  return ::open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

LogFd::LogFd() : fd_(open_stderr()) {}

void LogFd::write(std::string_view line) {
  const auto put = [this](std::string_view text) {
    if (fd_.valid()) return ::write(fd_.get(), text.data(), text.size()) >= 0;
    // Not to be opened anew: a socket, or no /proc here.
    if (::send(STDERR_FILENO, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      return true;
    }
    return errno == ENOTSOCK && ::write(STDERR_FILENO, text.data(), text.size()) >= 0;
  };
  if (lost_ > 0) {
    std::string note("(");
    note += std::to_string(lost_) + " log lines lost)\n";
    if (!put(note)) {
      ++lost_;
      return;
    }
    lost_ = 0;
  }
  if (!put(line)) ++lost_;
}

}  // namespace pool_server
