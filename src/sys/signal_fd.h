#pragma once

#include <csignal>
#include <initializer_list>
#include <optional>

#include "sys/unique_fd.h"

namespace pool_server {

// Blocks signals and reads them as events. Make it before the first thread: threads inherit the
// mask, so no signal ever interrupts a worker.
class SignalFd {
 public:
  explicit SignalFd(std::initializer_list<int> signals);
  int fd() const { return fd_.get(); }

  struct Signal {
    int number = 0;
    pid_t sender = 0;
  };
  std::optional<Signal> next();  // nullopt: none pending

 private:
  UniqueFd fd_;
};

// A write that cannot be done must be an error value, not a signal: to a client that has gone
// (SIGPIPE), or past the largest file allowed (SIGXFSZ, "ulimit -f"), which is a full disk.
void ignore_write_signals();

}  // namespace pool_server
