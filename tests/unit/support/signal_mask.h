#pragma once

#include <pthread.h>

#include <csignal>

namespace pool_server {

// What a test blocks for this thread is as before afterwards.
class KeepSignalMask {
 public:
  KeepSignalMask() { pthread_sigmask(SIG_SETMASK, nullptr, &before_); }
  KeepSignalMask(const KeepSignalMask&) = delete;
  KeepSignalMask& operator=(const KeepSignalMask&) = delete;
  ~KeepSignalMask() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace pool_server
