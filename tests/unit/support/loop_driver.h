#pragma once

#include <functional>

#include "loop/event_loop.h"
#include "loop/timers.h"
#include "support/waiting.h"
#include "sys/clock.h"

namespace pool_server {

// An event loop that a test runs until something has come about.
class LoopDriver final : public RoundHooks {
 public:
  Timers timers;
  EventLoop loop{timers, *this};
  std::function<void()> at_end_of_round = [] {};

  // False: it did not come about.
  bool run_until(std::function<bool()> holds) {
    const TimeUs give_up = monotonic_now() + std::chrono::microseconds(kPatience).count();
    bool held = false;
    decide_ = [&](TimeUs now) {
      held = holds();
      if (held || now > give_up) loop.stop();
    };
    loop.run();
    return held;
  }

  // Long enough for everything that is due to have happened.
  void run_rounds(int count) {
    run_until([&] { return --count <= 0; });
  }

  // Nothing keeps the loop from sleeping between its rounds.
  bool is_quiet() {
    constexpr int kRounds = 20;
    run_rounds(2);
    const TimeUs begin = monotonic_now();
    run_rounds(kRounds);
    return monotonic_now() - begin >= (kRounds - 1) * kSleep;
  }

  TimeUs end_of_round(TimeUs now) override {
    at_end_of_round();
    decide_(now);
    return kSleep;
  }

 private:
  static constexpr TimeUs kSleep = 200;  // µs: what is waited for may happen outside the loop

  std::function<void(TimeUs)> decide_;
};

}  // namespace pool_server
