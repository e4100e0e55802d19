#include "core/deadline_queue.h"

#include <doctest/doctest.h>

#include <array>
#include <map>
#include <random>

#include "support/failing_new.h"

namespace pool_server {
namespace {

class Timed : public Deadline {};

TEST_CASE("deadline queue: behaves like a sorted map") {
  std::mt19937 random(4);
  std::array<Timed, 50> items;
  DeadlineQueue queue;
  std::map<const Deadline*, TimeUs> model;
  const auto earliest = [&] {
    TimeUs time = kNever;
    for (const auto& [item, at] : model) time = std::min(time, at);
    return time;
  };
  for (int step = 0; step < 30'000; ++step) {
    Timed& item = items[random() % items.size()];
    const auto time = static_cast<TimeUs>(random() % 100);
    switch (random() % 4) {
      case 0:
      case 1:
        queue.arm(item, time);
        model[&item] = time;
        REQUIRE(item.armed());
        REQUIRE(item.at() == time);
        break;
      case 2:
        queue.disarm(item);
        model.erase(&item);
        REQUIRE_FALSE(item.armed());
        break;
      default:
        if (const Deadline* due = queue.pop_due(time)) {
          REQUIRE(model.count(due) == 1);
          REQUIRE(model[due] == earliest());
          REQUIRE(model[due] <= time);
          REQUIRE_FALSE(due->armed());
          model.erase(due);
        } else {
          REQUIRE(earliest() > time);
        }
    }
    REQUIRE(queue.earliest() == earliest());
  }
}

TEST_CASE("deadline queue: what is due now is due, what is due later is not") {
  Timed item;
  DeadlineQueue queue;
  CHECK(queue.earliest() == kNever);
  CHECK(queue.pop_due(kNever) == nullptr);
  queue.arm(item, 10);
  CHECK(queue.pop_due(9) == nullptr);
  CHECK(queue.pop_due(10) == &item);
  CHECK(queue.pop_due(10) == nullptr);
}

TEST_CASE("deadline queue: with room reserved, arming needs no memory") {
  // Fails when a reload, which re-arms the timers of all connections, could end half way.
  std::array<Timed, 100> items;
  DeadlineQueue queue;
  queue.arm(items[0], 7);
  queue.reserve(items.size() - 1);
  const FailingNew memory(0, FailingNew::Then::kStaysOut);
  TimeUs at = 50;
  for (Timed& item : items) queue.arm(item, at--);
  CHECK_FALSE(memory.failed());
}

}  // namespace
}  // namespace pool_server
