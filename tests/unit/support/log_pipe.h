#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>

#include "server/log.h"
#include "support/descriptors.h"

namespace pool_server {

inline std::string read_all(int fd) {
  std::string all;
  std::array<char, 4096> buffer{};
  for (ssize_t count; (count = ::read(fd, buffer.data(), buffer.size())) > 0;) {
    all.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return all;
}

// A log whose reader reads when it is told to.
class LogPipe {
 public:
  explicit LogPipe(LogLevel level) {
    ::fcntl(ends_.first.get(), F_SETFL, O_NONBLOCK);
    log::set_up(level);
  }
  LogPipe(const LogPipe&) = delete;
  LogPipe& operator=(const LogPipe&) = delete;
  ~LogPipe() {
    log::set_level(LogLevel::kError);
  }  // what other tests log goes to a pipe without a reader
  std::string read() { return read_all(ends_.first.get()); }

 private:
  std::pair<UniqueFd, UniqueFd> ends_ = pipe_pair();
  ScopedRedirection redirection_{STDERR_FILENO, ends_.second.get()};
};

}  // namespace pool_server
