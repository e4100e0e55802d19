#pragma once

#include <string_view>

#include "sys/unique_fd.h"

namespace pool_server {

// Standard error opened anew, for appending and without waiting; -1: it cannot be.
// Async-signal-safe.
int open_stderr();

// Standard error for a server that must not wait for whoever reads it: a line that cannot be
// written at once is lost, and counted.
class LogFd {
 public:
  LogFd();
  void write(std::string_view line);

 private:
  UniqueFd fd_;
  unsigned long lost_ = 0;
};

}  // namespace pool_server
