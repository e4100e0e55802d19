#include <doctest/doctest.h>

#include <new>
#include <optional>
#include <set>

#include "core/standing_wait.h"
#include "support/pool_fixture.h"
#include "support/queue_callers.h"
#include "support/scarce_memory.h"
#include "support/wrapped_pthread.h"
#include "sys/clock.h"

namespace pool_server {
namespace {

TEST_CASE("without memory a worker answers with an internal error, and goes on") {
  PoolFixture fixture(2);
  for (std::uint64_t number = 0; number < 40; ++number) {
    fixture.submit(number, number % 2 == 0 ? "throw" : std::string(1000, 'x'));
  }
  fixture.submit(40, "text");
  std::vector<RunPtr> ended;
  {
    const NoMemoryElsewhere none;
    for (std::uint64_t number = 41; number < 500; ++number) {
      fixture.submit(number, std::string(1000, 'y'));
    }
    ended = collect(fixture.completions, 500);
  }
  REQUIRE(ended.size() == 500);
  for (const RunPtr& each : ended) {
    if (each->number < 41) continue;  // those may have been in time
    CHECK(each->replies == "ERROR: internal error\n");
    CHECK(each->tasks[0].outcome == Outcome::kError);
  }
  fixture.submit(1000, std::string(1000, 'z'));
  CHECK(collect(fixture.completions, 1).front()->tasks[0].outcome == Outcome::kOk);
}

TEST_CASE("a run has room for the replies to faults, also when it is used again") {
  Run fresh;
  CHECK(fresh.replies.capacity() >= protocol::kInternalErrorReply.size());
  for (std::size_t tasks = 1; tasks < 50; ++tasks) {
    fresh.add("x");
    CHECK(fresh.replies.capacity() >= tasks * protocol::kInternalErrorReply.size());
  }
  std::string().swap(fresh.replies);
  fresh.reset();
  for (std::size_t tasks = 1; tasks < 50; ++tasks) {
    fresh.add("x");
    CHECK(fresh.replies.capacity() >= tasks * protocol::kInternalErrorReply.size());
  }
}

TEST_CASE("completion queue: posting takes no memory") {
  CompletionQueue completions;
  std::vector<RunPtr> batch;
  for (std::uint64_t number = 0; number < 500; ++number) batch.push_back(task(number));
  {
    const NoMemoryElsewhere none;
    const Thread poster("poster", [&] { completions.post(batch); });
  }
  CHECK(collect(completions, 500).size() == 500);
}

TEST_CASE("task queue: popping takes no memory for slots that were expected") {
  TaskQueue queue(10);
  queue.set_wait_limits(/*limit=*/0, queue.standing_waits(/*target=*/1'000));
  queue.expect_slots(5'000);
  SUBCASE("and a target set later") {
    queue.set_wait_limits(0, queue.standing_waits(2'000));
  }
  REQUIRE(queue.push(task(1, "", /*slot=*/4'999)));
  std::atomic<std::size_t> popped = 0;
  {
    const NoMemoryElsewhere none;
    const Thread popper("popper", [&] {
      TaskQueue::Sleeper sleeper;
      RunPtr one;
      bool loop_waits = false;
      popped += queue.pop(sleeper, {&one, 1}, 0, loop_waits);
      one.reset();
      popped += queue.pop(sleeper, {&one, 1}, 0, loop_waits);  // sleeps
    });
    CHECK(eventually([&] { return queue.level().idle == 1; }));
    queue.close();
  }
  CHECK(popped == 1);
}

TEST_CASE("task queue: memory that runs out as runs are taken out loses none") {
  bool came = true;
  int count = 1;
  for (; came && count < 50; ++count) {
    CAPTURE(count);
    TaskQueue queue(10);
    queue.set_wait_limits(/*limit=*/1'000, queue.standing_waits(/*target=*/0));
    for (std::uint64_t number = 0; number < 8; ++number) {
      RunPtr each = task(number);
      each->accepted_at = number < 4 ? 0 : 1'000'000;
      REQUIRE(queue.push(std::move(each)));
    }
    std::vector<RunPtr> out;
    {
      const OneFailure failure(count);
      try {
        (void)queue.take_expired(/*now=*/5'000, out);
        queue.take_all(out);
      } catch (const std::bad_alloc&) {
      }
      came = failure.came();
    }
    CHECK(tasks_in(out) + queue.level().depth == 8);
  }
  CHECK(count < 50);
  CHECK(count > 2);
}

TEST_CASE(
    "memory that runs out while a pool starts or grows leaves no thread behind and hangs none") {
  Script script;
  CompletionQueue completions;
  const PthreadCalls before = pthread_calls();
  bool came = true;
  int count = 1;
  for (; came && count < 500; ++count) {
    CAPTURE(count);
    std::optional<ThreadPool> pool;
    try {
      const OneFailure failure(count);
      pool.emplace(2, 10, script.factory(), completions);
      pool->resize(5);
      came = failure.came();
    } catch (const std::bad_alloc&) {
      CHECK_FALSE(pool.has_value());
    }
    if (pool) {
      pool->resize(5);
      CHECK(pool->size() == 5);
    }
  }
  CHECK(count < 500);
  const PthreadCalls after = pthread_calls();
  CHECK(after.created - before.created == after.joined - before.joined);
}

TEST_CASE("memory that runs out as a run is taken back, or a worker given up, loses no task") {
  bool came = true;
  int count = 1;
  for (; came && count < 200; ++count) {
    CAPTURE(count);
    PoolFixture fixture(3);
    TimeUs begun = 0;
    for (const std::uint64_t first : {1U, 11U, 21U}) {
      const auto slot = static_cast<std::uint32_t>(first);
      REQUIRE(fixture.pool.queue().push(run_of(first, {"a", "wait", "b", "c"}, slot)));
    }
    for (const Worker::Running& each : fixture.running(3)) begun = std::max(begun, each.begun_at);
    CHECK(eventually([&] { return fixture.script.begun == 6; }));
    ThreadPool::Inspection found;
    Numbers given_up;
    given_up.reserve(9);
    const auto look = [&](TimeUs now) {
      fixture.pool.inspect(now, {.task_timeout = 50'000, .max_stuck = 3}, 12, 1'000, found);
    };
    {
      const OneFailure failure(count);
      for (const TimeUs later : {60'000, 170'000, 280'000}) {
        try {
          look(begun + later);
          for (const Worker::Running& each : found.stuck) given_up.push_back(each.number);
          found.stuck.clear();
        } catch (const std::bad_alloc&) {
        }
      }
      came = failure.came();
    }
    fixture.script.gate.open();
    std::vector<RunPtr> all = std::move(found.ended);
    for (RunPtr& run : collect(fixture.completions, 12 - tasks_in(all))) {
      all.push_back(std::move(run));
    }
    Numbers numbers;
    for (const std::uint64_t first : {1U, 11U, 21U}) {
      for (std::uint64_t i = 0; i < 4; ++i) numbers.push_back(first + i);
    }
    CHECK(sorted(numbers_of(all)) == numbers);
    const std::set<std::uint64_t> once(given_up.begin(), given_up.end());
    CHECK(once.size() == given_up.size());
    for (const RunPtr& run : all) {
      if (run->answered) fixture.pool.came_back(run->worker);
    }
    CHECK(fixture.pool.stuck() == 0);
  }
  CHECK(count < 200);
}

TEST_CASE("memory that runs out as a worker is given up loses neither it nor its place") {
  bool came = true;
  int count = 1;
  for (; came && count < 200; ++count) {
    CAPTURE(count);
    PoolFixture fixture(1);
    fixture.submit(1, "wait");
    const TimeUs begun = fixture.running(1).front().begun_at;
    (void)fixture.inspect(begun + 50'000, 50'000, 1);
    {
      const OneFailure failure(count);
      try {
        (void)fixture.inspect(begun + (1LL << 50), 50'000, 1);
      } catch (const std::bad_alloc&) {
      }
      came = failure.came();
    }
    CHECK(fixture.pool.running().size() == 1);  // seen, wherever it is
  }
  CHECK(count < 200);
}

}  // namespace
}  // namespace pool_server
