#include "loop/event_loop.h"

#include <algorithm>

#include "loop/timers.h"
#include "sys/clock.h"

namespace pool_server {

namespace {

// Rounded up: waking a millisecond late is harmless, waking early means a round for nothing.
int milliseconds(TimeUs duration) {
  constexpr TimeUs kLongest = 1000LL * 60 * 60;  // an hour; the loop simply sleeps again
  return static_cast<int>(std::min<TimeUs>((duration + 999) / 1000, kLongest));
}

}  // namespace

EventLoop::EventLoop(Timers& timers, RoundHooks& hooks)
    : timers_(timers), hooks_(hooks), now_(monotonic_now()) {}

void EventLoop::add(int fd, std::uint32_t events, EventSource& source) {
  epoll_.add(fd, events, &source);
}

void EventLoop::modify(int fd, std::uint32_t events, EventSource& source) {
  epoll_.modify(fd, events, &source);
}

void EventLoop::remove(int fd) noexcept {
  epoll_.remove(fd);
}

void EventLoop::run() {
  running_ = true;
  TimeUs may_sleep = 0;
  while (running_) {
    const TimeUs until_timer = timers_.next_deadline() == kNever
                                   ? kNever
                                   : std::max<TimeUs>(timers_.next_deadline() - now_, 0);
    const TimeUs sleep = std::min(may_sleep, until_timer);
    const auto fired = epoll_.wait(events_, sleep == kNever ? -1 : milliseconds(sleep));
    now_ = monotonic_now();
    for (const epoll_event& event : fired) {
      static_cast<EventSource*>(event.data.ptr)->on_events(event.events);
    }
    timers_.fire_due(now_);
    may_sleep = hooks_.end_of_round(now_);
  }
}

}  // namespace pool_server
