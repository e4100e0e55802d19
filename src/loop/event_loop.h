#pragma once

#include <array>
#include <cstdint>

#include "core/ids.h"
#include "sys/epoll.h"

namespace pool_server {

// Something with a descriptor in the loop.
class EventSource {
 public:
  // `events` is the EPOLL* mask that came, level-triggered: what is not dealt with comes again.
  virtual void on_events(std::uint32_t events) = 0;

 protected:
  ~EventSource() = default;
};

// What the loop's owner does once a round.
class RoundHooks {
 public:
  // After all events and due timers of the round: hand work over, flush replies, reap what closed.
  // Returns how long the loop may sleep at most, in µs: 0 not at all, kNever until an event.
  virtual TimeUs end_of_round(TimeUs now) = 0;

 protected:
  ~RoundHooks() = default;
};

class Timers;

// The one epoll loop. A round is: wait, dispatch events, fire timers, end_of_round.
//
// Loop thread only. A source that is removed during a round may still be among the round's events:
// it must stay alive until end_of_round and ignore them (see ConnectionTable::reap).
class EventLoop {
 public:
  EventLoop(Timers& timers, RoundHooks& hooks);

  void add(int fd, std::uint32_t events, EventSource& source);
  void modify(int fd, std::uint32_t events, EventSource& source);
  void remove(int fd) noexcept;

  void run();  // until stop()
  void stop() { running_ = false; }
  TimeUs now() const { return now_; }  // the clock, read once a round

 private:
  // Enough to dispatch a busy round in one go; the rest comes in the next, level-triggered.
  static constexpr std::size_t kMaxEvents = 256;

  Epoll epoll_;
  Timers& timers_;
  RoundHooks& hooks_;
  std::array<epoll_event, kMaxEvents> events_{};
  TimeUs now_;
  bool running_ = false;
};

}  // namespace pool_server
