#include "core/standing_wait.h"

#include <doctest/doctest.h>

namespace pool_server {
namespace {

constexpr TimeUs kTarget = 5'000;
constexpr TimeUs kInterval = StandingWait::kInterval;

// Tasks that waited for `waited` begin one a millisecond, over [from, to). How many are shed.
int shed(StandingWait& wait, TimeUs from, TimeUs to, TimeUs waited) {
  int count = 0;
  for (TimeUs now = from; now < to; now += 1'000) count += wait.sheds(now, waited) ? 1 : 0;
  return count;
}

TEST_CASE("standing wait: without a target nothing is ever shed") {
  StandingWait wait;
  CHECK(shed(wait, 0, 10 * kInterval, 100 * kTarget) == 0);
}

TEST_CASE("standing wait: a wait within the target is never shed") {
  StandingWait wait(kTarget);
  CHECK(shed(wait, 0, 10 * kInterval, kTarget) == 0);
}

TEST_CASE("standing wait: a burst is not shed, a wait that lasts for an interval is") {
  StandingWait wait(kTarget);
  CHECK(shed(wait, 0, kInterval, 2 * kTarget) == 0);
  CHECK(shed(wait, kInterval, 2 * kInterval, 2 * kTarget) == kInterval / 1'000);
  // One who did not wait too long is served in any case, and ends it for another interval.
  CHECK_FALSE(wait.sheds(2 * kInterval, kTarget));
  CHECK(shed(wait, 2 * kInterval + 1'000, 3 * kInterval + 1'000, 2 * kTarget) == 0);
  CHECK(wait.sheds(3 * kInterval + 1'000, kTarget + 1));
}

TEST_CASE("standing wait: tasks longer than the interval have one too") {
  StandingWait wait(kTarget);
  CHECK_FALSE(wait.sheds(0, 0));
  CHECK_FALSE(wait.sheds(3 * kInterval, 3 * kInterval));
  CHECK(wait.sheds(6 * kInterval, 6 * kInterval));
}

TEST_CASE("standing wait: one short wait in an interval shows that the queue drains") {
  StandingWait wait(kTarget);
  for (TimeUs start = 0; start < 5 * kInterval; start += kInterval) {
    CHECK(shed(wait, start, start + kInterval - 1'000, 2 * kTarget) == 0);
    CHECK_FALSE(wait.sheds(start + kInterval - 1'000, 0));
  }
}

TEST_CASE("standing wait: an idle time is forgotten") {
  StandingWait wait(kTarget);
  shed(wait, 0, 2 * kInterval, 2 * kTarget);
  CHECK_FALSE(wait.sheds(10 * kInterval, 2 * kTarget));
}

TEST_CASE("standing waits: one who hardly waits does not save the one who floods") {
  StandingWaits waits(kTarget);
  int flooder_shed = 0;
  for (TimeUs now = 0; now < 3 * kInterval; now += 1'000) {
    flooder_shed += waits.sheds(/*slot=*/0, now, 20 * kTarget) ? 1 : 0;
    CHECK_FALSE(waits.sheds(/*slot=*/7, now, kTarget / 2));
  }
  CHECK(flooder_shed == 2 * kInterval / 1'000);
}

TEST_CASE("standing waits: many who each have one request only may have a standing one together") {
  StandingWaits waits(kTarget);
  constexpr std::uint32_t kClients = 50;
  int shed = 0;
  for (TimeUs now = 0; now < 2 * kInterval; now += 1'000) {
    const auto slot = static_cast<std::uint32_t>(now / 1'000) % kClients;
    shed += waits.sheds(slot, now, kClients * 1'000 - 1) ? 1 : 0;
  }
  CHECK(shed == kInterval / 1'000);
}

TEST_CASE("standing waits: without a target nothing is ever shed") {
  StandingWaits waits;
  for (TimeUs now = 0; now < 3 * kInterval; now += 1'000)
    CHECK_FALSE(waits.sheds(1, now, 1'000'000));
}

}  // namespace
}  // namespace pool_server
