#include <doctest/doctest.h>

#include <new>
#include <optional>

#include "core/standing_wait.h"
#include "support/failing_new.h"
#include "support/pool_fixture.h"
#include "support/queue_callers.h"
#include "support/wrapped_pthread.h"
#include "sys/clock.h"

namespace pool_server {
namespace {

TEST_CASE("without memory a worker answers with an internal error, and goes on") {
  Fixture fixture(2);
  for (std::uint64_t number = 0; number < 40; ++number) {
    fixture.submit(number, number % 2 == 0 ? "throw" : std::string(1000, 'x'));
  }
  fixture.submit(40, "text");
  std::vector<TaskPtr> ended;
  {
    const NoMemoryElsewhere none;
    for (std::uint64_t number = 41; number < 500; ++number) {
      fixture.submit(number, std::string(1000, 'y'));
    }
    ended = collect(fixture.completions, 500);
  }
  REQUIRE(ended.size() == 500);
  for (const TaskPtr& each : ended) {
    if (each->number < 41) continue;  // those may have been in time
    CHECK(each->reply == "ERROR: internal error\n");
    CHECK(each->outcome == Outcome::kError);
  }
  fixture.submit(1000, std::string(1000, 'z'));
  CHECK(collect(fixture.completions, 1).front()->outcome == Outcome::kOk);
}

TEST_CASE("a task that is made has room for the reply to a fault, also when it is used again") {
  Task fresh;
  CHECK(fresh.reply.capacity() >= protocol::kInternalErrorReply.size());
  fresh.reply = std::string();
  std::string().swap(fresh.reply);
  fresh.reset();
  CHECK(fresh.reply.capacity() >= protocol::kInternalErrorReply.size());
}

TEST_CASE("completion queue: posting takes no memory") {
  CompletionQueue completions;
  std::vector<TaskPtr> batch;
  for (std::uint64_t number = 0; number < 500; ++number) batch.push_back(task(number));
  {
    const NoMemoryElsewhere none;
    const Thread poster("poster", [&] { completions.post(batch); });
  }
  CHECK(collect(completions, 500).size() == 500);
}

TEST_CASE("task queue: popping takes no memory for slots that were expected") {
  TaskQueue queue(10);
  queue.set_wait_limits(/*limit=*/0, /*target=*/1'000);
  queue.expect_slots(5'000);
  SUBCASE("and a target set later") {
    queue.set_wait_limits(0, 2'000);
  }
  REQUIRE(queue.push(task(1, "", /*slot=*/4'999)));
  std::atomic<std::size_t> popped = 0;
  {
    const NoMemoryElsewhere none;
    const Thread popper("popper", [&] {
      TaskQueue::Sleeper sleeper;
      TaskPtr one;
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

TEST_CASE("memory that runs out as a worker is given up loses neither it nor its place") {
  bool came = true;
  int count = 1;
  for (; came && count < 200; ++count) {
    CAPTURE(count);
    Fixture fixture(1);
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
