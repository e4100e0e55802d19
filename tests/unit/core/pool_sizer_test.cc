#include "core/pool_sizer.h"

#include <doctest/doctest.h>

namespace pool_server {
namespace {

constexpr TimeUs kIdle = 10'000'000;
constexpr TimeUs kWait = PoolSizer::kGrowWait;

TEST_CASE("pool sizer: grows while all are busy and tasks wait") {
  struct Row {
    const char* what;
    PoolSample sample;
    unsigned wanted;
  };
  const Row rows[] = {
      {"nothing to do", {0, 2, 0, 0, 0}, 2},
      {"busy, nothing waits", {0, 2, 2, 0, 0}, 2},
      {"the oldest has not waited long enough", {0, 2, 2, 9, kWait - 1}, 2},
      {"long enough: the pool doubles", {0, 2, 2, 9, kWait}, 4},
      {"a worker is free, it only has to wake", {0, 2, 1, 9, kWait}, 2},
      {"no more workers than tasks are waiting", {0, 4, 4, 1, kWait}, 5},
      {"as far as the limit", {0, 6, 6, 9, kWait}, 8},
      {"at the limit", {0, 8, 8, 9, kWait}, 8},
      {"fewer than the least: a worker could not be started", {0, 1, 0, 0, 0}, 2},
      {"none at all", {0, 0, 0, 9, kWait}, 2},
      {"more than the most: the limit was lowered", {0, 12, 12, 9, kWait}, 8},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    PoolSizer sizer(2, 8, kIdle);
    CHECK(sizer.decide(row.sample) == row.wanted);
  }
}

TEST_CASE("pool sizer: shrinks to the most that a whole idle timeout needed") {
  PoolSizer sizer(2, 8, kIdle);
  CHECK(sizer.decide({0, 8, 3, 0, 0}) == 8);
  CHECK(sizer.decide({kIdle / 2, 8, 5, 0, 0}) == 8);
  CHECK(sizer.decide({kIdle - 1, 8, 1, 0, 0}) == 8);
  CHECK(sizer.decide({kIdle, 8, 1, 0, 0}) == 5);
  // A new window: the peak of the last one does not count any more.
  CHECK(sizer.decide({kIdle + 1, 5, 0, 0, 0}) == 5);
  CHECK(sizer.decide({2 * kIdle, 5, 0, 0, 0}) == 5);
  CHECK(sizer.decide({2 * kIdle + 1, 5, 0, 0, 0}) == 2);
  CHECK(sizer.decide({4 * kIdle, 2, 0, 0, 0}) == 2);
}

TEST_CASE("pool sizer: growing starts a new idle timeout") {
  PoolSizer sizer(2, 8, kIdle);
  CHECK(sizer.decide({0, 4, 0, 0, 0}) == 4);
  CHECK(sizer.decide({kIdle - 1, 4, 4, 4, kWait}) == 8);
  CHECK(sizer.decide({kIdle, 8, 0, 0, 0}) == 8);
  CHECK(sizer.decide({2 * kIdle - 1, 8, 0, 0, 0}) == 8);
  CHECK(sizer.decide({2 * kIdle, 8, 0, 0, 0}) == 2);
}

TEST_CASE("pool sizer: equal limits are a fixed pool") {
  PoolSizer sizer(4, 4, kIdle);
  CHECK(sizer.min_workers() == 4);
  CHECK(sizer.max_workers() == 4);
  CHECK(sizer.decide({0, 4, 4, 100, 100 * kWait}) == 4);
  CHECK(sizer.decide({10 * kIdle, 4, 0, 0, 0}) == 4);
  CHECK(sizer.decide({20 * kIdle, 4, 0, 0, 0}) == 4);
}

}  // namespace
}  // namespace pool_server
