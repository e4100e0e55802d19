#pragma once

#include <functional>

namespace pool_server {

// What the code under test asked of pthreads. Executables that link wrapped_pthread.cc are linked
// with -Wl,--wrap for each of these calls; the C++ library's own calls are not seen.
struct PthreadCalls {
  int created = 0;
  int joined = 0;
  int mutexes_made = 0;
  int mutexes_destroyed = 0;
  int conditions_made = 0;
  int conditions_destroyed = 0;
};
PthreadCalls pthread_calls();

// Calls `then` on the calling thread when it has unlocked its `count`th mutex from now on, once;
// whatever other threads could do at that moment, it can do. Zero: never.
void at_unlock(int count, std::function<void()> then);

// From now on this many threads can be created and no more; negative: as many as can be had.
void limit_threads(int left);

// Takes the limit away again.
class ThreadLimit {
 public:
  explicit ThreadLimit(int left) { limit_threads(left); }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;
  ~ThreadLimit() { limit_threads(-1); }
};

}  // namespace pool_server
