#include "loop/event_loop.h"

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "loop/timers.h"
#include "support/descriptors.h"
#include "support/loop_driver.h"
#include "support/waiting.h"
#include "sys/clock.h"
#include "sys/event_fd.h"
#include "sys/thread.h"

namespace pool_server {
namespace {

class Source final : public EventSource {
 public:
  explicit Source(std::function<void(std::uint32_t)> act) : act_(std::move(act)) {}
  void on_events(std::uint32_t events) override { act_(events); }

 private:
  std::function<void(std::uint32_t)> act_;
};

class Rounds final : public RoundHooks {
 public:
  explicit Rounds(std::function<TimeUs(TimeUs)> act) : act_(std::move(act)) {}
  TimeUs end_of_round(TimeUs now) override { return act_(now); }

 private:
  std::function<TimeUs(TimeUs)> act_;
};

TEST_CASE("event loop: a round is events, then timers, then its end") {
  std::vector<std::string> order;
  Timers timers;
  EventLoop* running = nullptr;
  Rounds rounds([&](TimeUs) {
    order.push_back("end");
    running->stop();
    return kNever;
  });
  EventLoop loop(timers, rounds);
  running = &loop;
  EventFd event;
  Source source([&](std::uint32_t events) {
    CHECK(events == EPOLLIN);
    event.clear();
    order.push_back("event");
  });
  CallbackTimer timer([&](TimeUs now) {
    CHECK(now == loop.now());
    order.push_back("timer");
  });
  loop.add(event.fd(), EPOLLIN, source);
  timers.arm(timer, loop.now());
  event.signal();
  loop.run();
  CHECK(order == std::vector<std::string>{"event", "timer", "end"});
}

TEST_CASE("event loop: events go to their own source, and change and cease as told") {
  LoopDriver driver;
  auto [ours, theirs] = socket_pair();
  EventFd other_event;
  std::uint32_t seen = 0;
  int other_seen = 0;
  Source source([&](std::uint32_t events) { seen = events; });
  Source other([&](std::uint32_t) { ++other_seen; });
  driver.loop.add(ours.get(), 0, source);
  driver.loop.add(other_event.fd(), EPOLLIN, other);
  REQUIRE(::send(theirs.get(), "x", 1, 0) == 1);
  driver.run_rounds(3);
  CHECK(seen == 0);
  CHECK(other_seen == 0);
  driver.loop.modify(ours.get(), EPOLLIN, source);
  CHECK(driver.run_until([&] { return seen == EPOLLIN; }));
  driver.loop.modify(ours.get(), EPOLLOUT, source);
  CHECK(driver.run_until([&] { return seen == EPOLLOUT; }));
  CHECK(other_seen == 0);
  driver.loop.remove(ours.get());
  seen = 0;
  driver.run_rounds(3);
  CHECK(seen == 0);
}

TEST_CASE("event loop: sleeps until a timer is due, never less, and not by spinning") {
  Timers timers;
  int rounds_seen = 0;
  EventLoop* running = nullptr;
  Rounds rounds([&](TimeUs) {
    ++rounds_seen;
    return kNever;
  });
  EventLoop loop(timers, rounds);
  running = &loop;
  const TimeUs due = monotonic_now() + 5'500;
  TimeUs fired_at = 0;
  CallbackTimer timer([&](TimeUs) {
    fired_at = monotonic_now();
    running->stop();
  });
  timers.arm(timer, due);
  loop.run();
  CHECK(fired_at >= due);
  CHECK(rounds_seen <= 4);  // the first, the timer's, and some for stray signals
}

TEST_CASE("event loop: sleeps no longer than the end of the round allows") {
  Timers timers;
  EventLoop* running = nullptr;
  std::vector<TimeUs> ends;
  Rounds rounds([&](TimeUs now) -> TimeUs {
    ends.push_back(now);
    CHECK(running->now() == now);
    if (ends.size() == 6) running->stop();
    return ends.size() < 3 ? 0 : 2'500;
  });
  EventLoop loop(timers, rounds);
  running = &loop;
  loop.run();  // with nothing else to wake it
  REQUIRE(ends.size() == 6);
  CHECK(ends[5] - ends[2] >= 3 * 2'500);
}

TEST_CASE("event loop: with nothing due it sleeps until there is an event") {
  Timers timers;
  EventLoop* running = nullptr;
  int rounds_seen = 0;
  Rounds rounds([&](TimeUs) {
    ++rounds_seen;
    return kNever;
  });
  EventLoop loop(timers, rounds);
  running = &loop;
  EventFd event;
  Source source([&](std::uint32_t) {
    event.clear();
    running->stop();
  });
  loop.add(event.fd(), EPOLLIN, source);
  const pid_t loop_thread = ::gettid();
  std::atomic<bool> slept = false;
  {
    const Thread waker("waker", [&] {
      slept = eventually([&] { return is_asleep(loop_thread); });
      event.signal();
    });
    loop.run();
  }
  CHECK(slept);
  CHECK(rounds_seen <= 4);
}

}  // namespace
}  // namespace pool_server
