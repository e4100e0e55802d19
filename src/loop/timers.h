#pragma once

#include <cassert>
#include <functional>
#include <utility>

#include "core/deadline_queue.h"

namespace pool_server {

// A one-shot timer. Loop thread only. Disarmed before it ends: Timers would go on naming it.
class Timer : public Deadline {
 public:
  virtual void on_time(TimeUs now) = 0;

 protected:
  ~Timer() { assert(!armed()); }
};

// One that is embedded in its owner.
class CallbackTimer final : public Timer {
 public:
  explicit CallbackTimer(std::function<void(TimeUs now)> callback)
      : callback_(std::move(callback)) {}

  void on_time(TimeUs now) override { callback_(now); }

 private:
  std::function<void(TimeUs now)> callback_;
};

// All timers of the loop. They bound the time-out of epoll_wait instead of driving a timerfd:
// re-arming one is then a heap operation and no system call. Resolution 1 ms, never early.
class Timers {
 public:
  void arm(Timer& timer, TimeUs at) { queue_.arm(timer, at); }
  void disarm(Timer& timer) { queue_.disarm(timer); }
  void reserve(std::size_t more) { queue_.reserve(more); }  // see DeadlineQueue
  TimeUs next_deadline() const { return queue_.earliest(); }
  void fire_due(TimeUs now);  // callbacks may arm and disarm any timer

 private:
  DeadlineQueue queue_;
};

}  // namespace pool_server
