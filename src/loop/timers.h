#pragma once

#include <functional>

#include "core/deadline_queue.h"

namespace pool_server {

// A one-shot timer, embedded in its owner. Loop thread only.
class Timer : public Deadline {
 public:
  explicit Timer(std::function<void(TimeUs now)> callback) : callback_(std::move(callback)) {}

 private:
  friend class Timers;
  std::function<void(TimeUs now)> callback_;
};

// All timers of the loop. They bound the time-out of epoll_wait instead of driving a timerfd:
// re-arming one is then a heap operation and no system call. Resolution 1 ms, never early.
class Timers {
 public:
  void arm(Timer& timer, TimeUs at) { queue_.arm(timer, at); }
  void disarm(Timer& timer) { queue_.disarm(timer); }
  TimeUs next_deadline() const { return queue_.earliest(); }
  void fire_due(TimeUs now);  // callbacks may arm and disarm any timer

 private:
  DeadlineQueue queue_;
};

}  // namespace pool_server
