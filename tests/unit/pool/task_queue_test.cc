#include "pool/task_queue.h"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <numeric>

#include "support/queue_callers.h"
#include "support/tasks.h"
#include "support/waiting.h"
#include "sys/thread.h"

namespace pool_server {
namespace {

TEST_CASE("R1: push on a full queue blocks until space opens, then goes on") {
  TaskQueue queue(2);
  Popper popper(queue);
  fill(queue, 0, 2);
  bool pushed = false;
  {
    BlockedCall push([&] { pushed = queue.push(task(2)); });
    CHECK(push.blocks());
    CHECK(queue.level().depth == 2);
    CHECK(popper.pop() == Numbers{0});
    CHECK(push.returns());
  }
  CHECK(pushed);
  CHECK(queue.level().depth == 2);
  CHECK(popper.pop_all() == Numbers{1, 2});
}

TEST_CASE("R1: every pusher that waits goes on when there is room for all") {
  TaskQueue queue(1);
  Popper popper(queue);
  fill(queue, 0, 1);
  std::atomic<int> pushed = 0;
  {
    BlockedCall first([&] { pushed += queue.push(task(1)) ? 1 : 0; });
    BlockedCall second([&] { pushed += queue.push(task(2)) ? 1 : 0; });
    CHECK(first.blocks());
    CHECK(second.blocks());
    queue.set_capacity(3);
    CHECK(first.returns());
    CHECK(second.returns());
  }
  CHECK(pushed == 2);
  CHECK(sorted(popper.pop_all()) == Numbers{0, 1, 2});
}

TEST_CASE("R1: room that a cancelled client leaves lets a pusher go on") {
  TaskQueue queue(1);
  fill(queue, 0, 1);
  bool pushed = false;
  RunChain cancelled;
  {
    BlockedCall push([&] { pushed = queue.push(task(1, "", /*slot=*/5)); });
    CHECK(push.blocks());
    queue.cancel({0, 1}, cancelled);
    CHECK(push.returns());
  }
  CHECK(pushed);
  CHECK(numbers_of(cancelled) == Numbers{0});
}

TEST_CASE("R1: a closed queue lets a waiting pusher go, without its task") {
  TaskQueue queue(1);
  Popper popper(queue);
  fill(queue, 0, 1);
  bool pushed = true;
  {
    BlockedCall push([&] { pushed = queue.push(task(1)); });
    CHECK(push.blocks());
    queue.close();
    CHECK(push.returns());
  }
  CHECK_FALSE(pushed);
  CHECK_FALSE(queue.push(task(2)));
  CHECK(popper.pop() == Numbers{0});  // what was queued is handed out still
  CHECK(popper.pop().empty());
}

TEST_CASE("R1: try_push never blocks, and leaves the task with the caller when it does not fit") {
  TaskQueue queue(2);
  Popper popper(queue);
  for (const std::uint64_t number : {0U, 1U}) {
    RunPtr fits = task(number);
    CHECK(queue.try_push(fits));
    CHECK(fits == nullptr);
  }
  RunPtr late = task(2);
  CHECK_FALSE(queue.try_push(late));
  REQUIRE(late != nullptr);
  CHECK(late->number == 2);
  CHECK(popper.pop() == Numbers{0});
  CHECK(queue.try_push(late));
  queue.close();
  RunPtr too_late = task(3);
  CHECK_FALSE(queue.try_push(too_late));
  CHECK(too_late != nullptr);
  CHECK(popper.pop_all() == Numbers{1, 2});
}

TEST_CASE("task queue: pop blocks while it is empty, and ends at close") {
  TaskQueue queue(10);
  Popper popper(queue);
  Numbers popped;
  {
    BlockedCall pop([&] { popped = popper.pop(); });
    CHECK(pop.blocks());
    CHECK(queue.level().idle == 1);
    fill(queue, 5, 1);
    CHECK(pop.returns());
  }
  CHECK(popped == Numbers{5});
  CHECK(queue.level().idle == 0);
  {
    BlockedCall pop([&] { popped = popper.pop(); });
    CHECK(pop.blocks());
    queue.close();
    CHECK(pop.returns());
  }
  CHECK(popped.empty());
}

TEST_CASE("task queue: long tasks go out one by one, short ones in small batches in order") {
  TaskQueue queue(100);
  Popper popper(queue);
  std::vector<RunPtr> tasks;
  for (std::uint64_t i = 0; i < 40; ++i) tasks.push_back(task(i));
  queue.push_all(tasks, /*estimated_task=*/1e6, /*now=*/0);
  CHECK(tasks.empty());
  CHECK(popper.pop(32) == Numbers{0});
  tasks.push_back(task(40));
  queue.push_all(tasks, /*estimated_task=*/1, /*now=*/0);
  const Numbers batch = popper.pop(32);
  CHECK(batch.size() > 1);
  CHECK(batch.size() <= 32);
  Numbers expected(batch.size());
  std::iota(expected.begin(), expected.end(), 1);
  CHECK(batch == expected);
}

TEST_CASE("task queue: the level tells depth, room and who is next in line") {
  TaskQueue queue(5);
  CHECK(queue.level().oldest_since == kNever);
  std::vector<RunPtr> tasks;
  for (std::uint64_t i = 0; i < 3; ++i) {
    tasks.push_back(task(i));
    tasks.back()->accepted_at = static_cast<TimeUs>(100 + i);
  }
  const TaskQueue::Level level = queue.push_all(tasks, 1e6, 0);
  CHECK(level.depth == 3);
  CHECK(level.free == 2);
  CHECK(level.idle == 0);
  CHECK(level.oldest_since == 100);
  Popper(queue).pop();
  CHECK(queue.level().oldest_since == 101);
  queue.set_capacity(1);
  CHECK(queue.level().free == 0);
}

TEST_CASE("task queue: the loop hears of room once, when it asked") {
  TaskQueue queue(3);
  Popper popper(queue);
  fill(queue, 0, 3);
  popper.pop();
  CHECK_FALSE(popper.loop_waits());
  CHECK(queue.tell_when_room().depth == 2);
  popper.pop();
  CHECK(popper.loop_waits());
  popper.pop();
  CHECK_FALSE(popper.loop_waits());
}

TEST_CASE("task queue: what is given back comes first, in its old order, and wakes workers") {
  TaskQueue queue(3);
  Popper popper(queue);
  fill(queue, 2, 3);
  std::vector<RunPtr> back;
  back.push_back(task(0));
  back.push_back(task(1));
  queue.give_back(back);
  CHECK(back.empty());
  CHECK(queue.level().depth == 5);
  CHECK(popper.pop_all() == Numbers{0, 1, 2, 3, 4});

  Numbers popped;
  BlockedCall pop([&] { popped = popper.pop(); });
  CHECK(pop.blocks());
  back.push_back(task(9));
  queue.give_back(back);
  CHECK(pop.returns());
  CHECK(popped == Numbers{9});
}

TEST_CASE("task queue: cancelling takes out one client's tasks") {
  TaskQueue queue(10);
  for (std::uint64_t i = 0; i < 6; ++i) {
    REQUIRE(queue.push(task(i, "", static_cast<std::uint32_t>(i % 2))));
  }
  RunChain cancelled;
  queue.cancel({1, 1}, cancelled);
  queue.cancel({0, 2}, cancelled);  // the next client in slot 0, who has none
  CHECK(numbers_of(cancelled) == Numbers{1, 3, 5});
  CHECK(Popper(queue).pop_all() == Numbers{0, 2, 4});
}

TEST_CASE("task queue: tasks that have waited beyond the limit are marked, or taken out") {
  TaskQueue queue(10);
  Popper popper(queue);
  const auto fill_at = [&](TimeUs accepted) {
    for (std::uint64_t number = 0; number < 3; ++number) {
      RunPtr each = task(number);
      each->accepted_at = accepted + static_cast<TimeUs>(number);
      REQUIRE(queue.push(std::move(each)));
    }
  };
  std::vector<RunPtr> expired;
  fill_at(0);
  CHECK(queue.take_expired(kNever, expired) == kNever);  // no limit
  CHECK(expired.empty());

  queue.set_wait_limits(/*limit=*/1'000, queue.standing_waits(/*target=*/0));
  CHECK(queue.take_expired(999, expired) > 999);
  CHECK(expired.empty());
  const TimeUs again = queue.take_expired(1'001, expired);
  CHECK(again > 1'001);
  CHECK(again <= 1'001 + 1'000);
  CHECK(numbers_of(expired) == Numbers{0, 1});
  for (const RunPtr& each : expired) CHECK(each->shed == Run::Shed::kWaitedTooLong);
  CHECK(popper.pop_all() == Numbers{2});

  fill_at(0);
  std::array<RunPtr, 8> batch;
  bool loop_waits = false;
  const std::size_t count = queue.pop(popper.sleeper(), batch, /*now=*/1'001, loop_waits);
  REQUIRE(count == 3);  // those that are not begun do not count against the batch
  CHECK(batch[0]->shed == Run::Shed::kWaitedTooLong);
  CHECK(batch[1]->shed == Run::Shed::kWaitedTooLong);
  CHECK(batch[2]->shed == Run::Shed::kNo);
}

TEST_CASE("task queue: everything can be taken out") {
  TaskQueue queue(2);
  fill(queue, 0, 2);
  std::vector<RunPtr> tasks;
  BlockedCall push([&] { (void)queue.push(task(2)); });
  CHECK(push.blocks());
  queue.take_all(tasks);
  CHECK(sorted(numbers_of(tasks)) == Numbers{0, 1});
  CHECK(push.returns());
  CHECK(queue.level().depth == 1);
}

TEST_CASE("R1: room that expired tasks leave lets a pusher go on") {
  TaskQueue queue(1);
  queue.set_wait_limits(/*limit=*/1'000, queue.standing_waits(/*target=*/0));
  fill(queue, 0, 1);
  std::vector<RunPtr> expired;
  BlockedCall push([&] { (void)queue.push(task(1)); });
  CHECK(push.blocks());
  queue.take_expired(/*now=*/5'000, expired);
  CHECK(push.returns());
}

TEST_CASE("R1: several producers and workers on a small queue, each task exactly once") {
  constexpr std::uint64_t kProducers = 3;
  constexpr std::uint64_t kEach = 3'000;
  constexpr std::size_t kWorkers = 3;
  TaskQueue queue(7);
  std::array<Numbers, kWorkers> popped;
  {
    std::vector<Thread> workers;
    for (Numbers& mine : popped) {
      workers.emplace_back("popper", [&queue, &mine] {
        Popper popper(queue);
        for (Numbers some = popper.pop(4); !some.empty(); some = popper.pop(4)) {
          mine.insert(mine.end(), some.begin(), some.end());
        }
      });
    }
    {
      std::vector<Thread> producers;
      for (std::uint64_t producer = 0; producer < kProducers; ++producer) {
        producers.emplace_back("pusher", [&queue, producer] {
          const auto slot = static_cast<std::uint32_t>(producer);
          for (std::uint64_t i = 0; i < kEach; ++i) {
            RunPtr next = task(producer * kEach + i, "", slot);
            if (i % 2 == 0 || !queue.try_push(next)) (void)queue.push(std::move(next));
          }
        });
      }
    }
    queue.close();
  }
  Numbers all;
  for (const Numbers& mine : popped) {
    // Each worker sees the tasks of one client in their order.
    for (std::uint64_t producer = 0; producer < kProducers; ++producer) {
      Numbers theirs;
      std::copy_if(mine.begin(), mine.end(), std::back_inserter(theirs),
                   [&](std::uint64_t number) { return number / kEach == producer; });
      CHECK(std::is_sorted(theirs.begin(), theirs.end()));
    }
    all.insert(all.end(), mine.begin(), mine.end());
  }
  Numbers every(kProducers * kEach);
  std::iota(every.begin(), every.end(), 0);
  CHECK(sorted(all) == every);
}

}  // namespace
}  // namespace pool_server
