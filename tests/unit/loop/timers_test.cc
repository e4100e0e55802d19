#include "loop/timers.h"

#include <doctest/doctest.h>

#include <vector>

namespace pool_server {
namespace {

TEST_CASE("timers: fire once, in the order of their times, with the time of the round") {
  Timers timers;
  std::vector<int> fired;
  TimeUs told = 0;
  CallbackTimer first([&](TimeUs now) { fired.push_back(1), told = now; });
  CallbackTimer second([&](TimeUs) { fired.push_back(2); });
  CallbackTimer third([&](TimeUs) { fired.push_back(3); });
  timers.arm(third, 30);
  timers.arm(first, 10);
  timers.arm(second, 20);
  CHECK(timers.next_deadline() == 10);
  timers.fire_due(9);
  CHECK(fired.empty());
  timers.fire_due(25);
  CHECK(fired == std::vector<int>{1, 2});
  CHECK(told == 25);
  CHECK_FALSE(first.armed());
  CHECK(timers.next_deadline() == 30);
  timers.disarm(third);
  timers.fire_due(kNever);
  CHECK(fired.size() == 2);
  CHECK(timers.next_deadline() == kNever);
}

TEST_CASE("timers: callbacks may arm and disarm any timer, themselves included") {
  Timers timers;
  int again = 0;
  bool victim_fired = false;
  bool helper_fired = false;
  CallbackTimer victim([&](TimeUs) { victim_fired = true; });
  CallbackTimer helper([&](TimeUs) { helper_fired = true; });
  CallbackTimer repeating([](TimeUs) {});
  CallbackTimer meddler([&](TimeUs now) {
    timers.disarm(victim);
    timers.arm(helper, now);  // due at once: in the same go
    timers.arm(repeating, now + 10);
    if (++again < 3) timers.arm(meddler, now + 5);
  });
  timers.arm(meddler, 1);
  timers.arm(victim, 2);
  timers.fire_due(2);
  CHECK_FALSE(victim_fired);
  CHECK(helper_fired);
  CHECK(timers.next_deadline() == 7);
  timers.fire_due(7);
  timers.fire_due(12);
  CHECK(again == 3);
  CHECK(timers.next_deadline() == 22);
  timers.disarm(repeating);
}

}  // namespace
}  // namespace pool_server
