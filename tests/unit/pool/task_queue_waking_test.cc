#include <doctest/doctest.h>

#include <atomic>
#include <optional>

#include "pool/task_queue.h"
#include "support/queue_callers.h"
#include "support/tasks.h"

namespace pool_server {
namespace {

// The loop's push of `count` short tasks: their work alone asks for one worker.
void push_short(TaskQueue& queue, std::uint64_t first, std::uint64_t count) {
  std::vector<RunPtr> tasks;
  for (std::uint64_t i = 0; i < count; ++i) tasks.push_back(task(first + i));
  queue.push_all(tasks, /*estimated_task=*/1, /*now=*/0);
}

TEST_CASE("waking: no worker is woken for what one who just took a task will come back for") {
  TaskQueue queue(10);
  Popper busy(queue);
  Popper idle(queue);
  fill(queue, 0, 1);
  BlockedCall waiting([&] { idle.pop(); });
  CHECK(waiting.returns());
  fill(queue, 1, 1);
  CHECK(busy.pop() == Numbers{1});
  BlockedCall asleep([&] { idle.pop(); });
  CHECK(asleep.blocks());
  push_short(queue, 2, 1);
  CHECK(asleep.blocks());
  CHECK(busy.pop() == Numbers{2});
  queue.close();
}

TEST_CASE("waking: a nudge is heard once, asleep or later, and takes no task along") {
  TaskQueue queue(10);
  Popper popper(queue);
  Popper other(queue);
  {
    BlockedCall asleep([&] { popper.pop(); });
    BlockedCall others([&] { other.pop(); });
    CHECK(asleep.blocks());
    CHECK(others.blocks());
    queue.nudge(popper.sleeper());
    CHECK(asleep.returns());
    CHECK(popper.nudged());
    CHECK(others.blocks());
    CHECK(queue.level().idle == 1);
    fill(queue, 0, 1);
    CHECK(others.returns());
  }
  queue.nudge(popper.sleeper());
  fill(queue, 1, 1);
  CHECK(popper.pop().empty());
  CHECK(popper.nudged());
  CHECK(popper.pop() == Numbers{1});
  CHECK_FALSE(popper.nudged());
}

TEST_CASE("waking: who just took a task and then went to sleep is not waited for") {
  TaskQueue queue(10);
  Popper popper(queue);
  fill(queue, 0, 1);
  CHECK(popper.pop() == Numbers{0});
  for (std::uint64_t number = 1; number < 3; ++number) {
    Numbers popped;
    {
      BlockedCall asleep([&] { popped = popper.pop(); });
      CHECK(asleep.blocks());
      push_short(queue, number, 1);
      CHECK(asleep.returns());
    }
    CHECK(popped == Numbers{number});
  }
}

TEST_CASE("waking: who just took a task and has left is not waited for") {
  TaskQueue queue(10);
  Popper leaver(queue);
  Popper other(queue);
  fill(queue, 0, 1);
  CHECK(leaver.pop() == Numbers{0});
  queue.leave(leaver.sleeper());
  BlockedCall asleep([&] { other.pop(); });
  CHECK(asleep.blocks());
  push_short(queue, 1, 1);
  CHECK(asleep.returns());
}

TEST_CASE("task queue: workers are woken for waiting tasks whatever was estimated") {
  TaskQueue queue(10);
  Popper first(queue);
  Popper second(queue);
  std::atomic<int> woken = 0;
  {
    BlockedCall one([&] { first.pop(), ++woken; });
    BlockedCall two([&] { second.pop(), ++woken; });
    CHECK(one.blocks());
    CHECK(two.blocks());
    std::vector<RunPtr> tasks;
    for (std::uint64_t i = 0; i < 8; ++i) tasks.push_back(task(i));
    queue.push_all(tasks, /*estimated_task=*/1, /*now=*/1'000'000);
    queue.wake_for_waiting(/*estimated_task=*/1);
    CHECK(one.returns());
    CHECK(two.returns());
  }
  CHECK(woken == 2);
}

TEST_CASE("B2: the worker that has idled longest is retired, and only an idle one") {
  TaskQueue queue(10);
  CHECK(queue.retire_one() == nullptr);
  Popper first(queue);
  Popper second(queue);
  std::optional<Numbers> first_popped;
  std::optional<Numbers> second_popped;
  {
    BlockedCall one([&] { first_popped = first.pop(); });
    CHECK(one.blocks());
    BlockedCall two([&] { second_popped = second.pop(); });
    CHECK(two.blocks());
    CHECK(queue.level().idle == 2);
    CHECK(queue.retire_one() == &first.sleeper());
    CHECK(one.returns());
    CHECK(queue.level().idle == 1);
    fill(queue, 3, 1);
    CHECK(two.returns());
  }
  CHECK(first_popped == Numbers{});
  CHECK(second_popped == Numbers{3});
  CHECK(queue.retire_one() == nullptr);
}

TEST_CASE("B2: the worker that idled the shortest is woken first, so that the others grow old") {
  TaskQueue queue(10);
  Popper first(queue);
  Popper second(queue);
  Numbers popped;
  BlockedCall one([&] { first.pop(); });
  CHECK(one.blocks());
  BlockedCall two([&] { popped = second.pop(); });
  CHECK(two.blocks());
  fill(queue, 3, 1);
  CHECK(two.returns());
  CHECK(popped == Numbers{3});
  CHECK(one.blocks());
  queue.close();
}

}  // namespace
}  // namespace pool_server
