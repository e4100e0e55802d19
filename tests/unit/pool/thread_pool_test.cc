#include "pool/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <stdexcept>
#include <system_error>

#include "support/pool_fixture.h"
#include "support/tasks.h"
#include "support/waiting.h"
#include "support/wrapped_pthread.h"
#include "sys/clock.h"

namespace pool_server {
namespace {

std::set<std::string> thread_names() {
  std::set<std::string> names;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(thread.path() / "comm") >> std::ws, name);
    names.insert(name);
  }
  return names;
}

TEST_CASE("C2: shutdown runs what is queued, joins every worker and destroys every lock") {
  CompletionQueue completions;
  Script script;
  const PthreadCalls before = pthread_calls();
  ThreadPool pool(3, 100, script.factory(), completions);
  for (std::uint64_t number = 0; number < 20; ++number) {
    REQUIRE(pool.queue().push(task(number, number % 4 == 3 ? "fail" : "wait")));
  }
  CHECK(eventually([&] { return script.begun >= 3; }));
  CHECK(script.ended == 0);

  const pid_t caller = ::gettid();
  std::atomic<bool> returned = false;
  std::atomic<bool> returned_early = false;
  {
    // Lets the tasks end only once shutdown() waits for them.
    const Thread helper("helper", [&] {
      (void)eventually([&] { return returned || is_asleep(caller); });
      returned_early = returned.load();
      script.gate.open();
    });
    pool.shutdown();
    returned = true;
    CHECK(script.ended == 20);
  }
  CHECK_FALSE(returned_early);

  const PthreadCalls after = pthread_calls();
  const int helper = 1;
  CHECK(script.interrupted == 3);  // whoever waits in prepare() is to look
  CHECK(after.created - before.created == 3 + helper);
  CHECK(after.joined - before.joined == 3 + helper);
  CHECK(after.mutexes_made > before.mutexes_made);
  CHECK(after.conditions_made > before.conditions_made);
  CHECK(after.mutexes_destroyed - before.mutexes_destroyed ==
        after.mutexes_made - before.mutexes_made);
  CHECK(after.conditions_destroyed - before.conditions_destroyed ==
        after.conditions_made - before.conditions_made);
  CHECK(collect(completions, 20).size() == 20);
  pool.shutdown();  // has no effect
}

TEST_CASE("C2: the end of a pool shuts it down, and leaves nothing behind") {
  CompletionQueue completions;
  Script script;
  script.gate.open();
  const PthreadCalls before = pthread_calls();
  {
    ThreadPool pool(4, 100, script.factory(), completions);
    for (std::uint64_t number = 0; number < 50; ++number) {
      REQUIRE(pool.queue().push(task(number, "wait")));
    }
    pool.resize(2);
    pool.resize(6);
  }
  CHECK(script.ended == 50);
  const PthreadCalls after = pthread_calls();
  CHECK(after.joined - before.joined == after.created - before.created);
  CHECK(after.mutexes_destroyed - before.mutexes_destroyed ==
        after.mutexes_made - before.mutexes_made);
  CHECK(after.conditions_destroyed - before.conditions_destroyed ==
        after.conditions_made - before.conditions_made);
}

TEST_CASE("R2: workers are named, and one that comes later gets the lowest free name") {
  PoolFixture fixture(3);
  const auto has = [](const char* name) {
    return eventually([&] { return thread_names().count(name) == 1; });
  };
  CHECK(has("worker-0"));
  CHECK(has("worker-1"));
  CHECK(has("worker-2"));
  REQUIRE(fixture.all_idle(3));
  fixture.pool.resize(1);
  REQUIRE(fixture.pool.size() == 1);
  fixture.pool.resize(3);
  CHECK(has("worker-0"));
  CHECK(has("worker-1"));
  CHECK(has("worker-2"));
  CHECK(thread_names().count("worker-3") == 0);
}

TEST_CASE("thread pool: tasks come back as their own completions, with reply and timings") {
  PoolFixture fixture(2);
  const TimeUs before = monotonic_now();
  for (std::uint64_t number = 0; number < 100; ++number) {
    fixture.submit(number, number % 10 == 0 ? "fail" : "text");
  }
  const auto ended = collect(fixture.completions, 100);
  const TimeUs after = monotonic_now();
  REQUIRE(ended.size() == 100);
  for (const RunPtr& each : ended) {
    const bool failed = each->number % 10 == 0;
    CHECK(each->tasks[0].outcome == (failed ? Outcome::kError : Outcome::kOk));
    CHECK(each->replies == (failed ? "ERROR: fail\n" : "result: text\n"));
    CHECK(each->begun_at >= before);
    CHECK(each->tasks[0].took >= 0);
    CHECK(each->begun_at + each->tasks[0].took <= after);
    CHECK(each->worker < 2);
    CHECK_FALSE(each->answered);
  }
}

TEST_CASE("R5: a handler that throws answers with an error, and its worker goes on") {
  PoolFixture fixture(1);
  fixture.submit(1, "throw");
  fixture.submit(2, "throw-int");
  fixture.submit(3, "text");
  const auto ended = collect(fixture.completions, 3);
  REQUIRE(ended.size() == 3);
  for (const RunPtr& each : ended) {
    CHECK(each->replies == (each->number == 3 ? "result: text\n" : "ERROR: internal error\n"));
    CHECK(each->tasks[0].outcome == (each->number == 3 ? Outcome::kOk : Outcome::kError));
  }
  CHECK(fixture.pool.size() == 1);
}

TEST_CASE("B3: an overdue task is reported once, is told to stop, and comes back marked") {
  PoolFixture fixture(1);
  fixture.submit(7, "until-stopped");
  const TimeUs begun = fixture.running(1).front().begun_at;

  auto found = fixture.inspect(begun + kTimeout - 1, kTimeout);
  CHECK(found.overdue.empty());
  CHECK(found.look_again_at <= begun + kTimeout);
  CHECK(fixture.script.stopped == 0);
  CHECK(fixture.script.interrupted == 0);

  found = fixture.inspect(begun + kTimeout, kTimeout);
  REQUIRE(found.overdue.size() == 1);
  CHECK(found.overdue.front().number == 7);
  CHECK(fixture.inspect(begun + kTimeout, kTimeout).overdue.empty());
  CHECK(fixture.script.interrupted == 1);

  const auto ended = collect(fixture.completions, 1);
  REQUIRE(ended.size() == 1);
  CHECK(ended.front()->answered);
  CHECK(fixture.script.stopped == 1);

  // The next task on that worker starts with a clean token.
  fixture.submit(8, "stopped?");
  const auto next = collect(fixture.completions, 1);
  REQUIRE(next.size() == 1);
  CHECK_FALSE(next.front()->answered);
  CHECK(next.front()->replies == "result: stopped? no\n");
}

TEST_CASE("B3: without a time-out no task is ever overdue") {
  PoolFixture fixture(1);
  fixture.submit(1, "wait");
  fixture.running(1);
  CHECK(fixture.inspect(kFarFuture, 0).overdue.empty());
}

TEST_CASE("B3: work that begins before the next look is looked after in time") {
  PoolFixture fixture(1);
  const auto found = fixture.inspect(1'000, kTimeout);
  CHECK(found.look_again_at <= 1'000 + kTimeout);
}

TEST_CASE("a worker that does not come back is replaced, and ends when it does") {
  PoolFixture fixture(1);
  fixture.submit(1, "wait");
  const Worker::Running hung = fixture.running(1).front();
  // However late the loop looks, the task is told first and then has a while to end.
  const TimeUs late_look = hung.begun_at + kFarFuture;
  const auto told = fixture.inspect(late_look, kTimeout, 1);
  CHECK(told.overdue.size() == 1);
  CHECK(told.stuck.empty());
  CHECK(fixture.inspect(late_look + 99'999, kTimeout, 1).stuck.empty());
  const auto found = fixture.inspect(late_look + 100'000, kTimeout, 1);
  REQUIRE(found.stuck.size() == 1);
  CHECK(found.stuck.front().number == 1);
  CHECK_FALSE(found.no_progress_possible);
  CHECK(fixture.pool.stuck() == 1);
  CHECK(fixture.pool.size() == 1);

  // Others are served, by a worker with a name of its own.
  fixture.submit(2, "text");
  const auto served = collect(fixture.completions, 1);
  REQUIRE(served.size() == 1);
  CHECK(served.front()->number == 2);
  CHECK(served.front()->worker != hung.worker);

  // No more may be replaced: the next one that hangs ends all progress.
  fixture.submit(3, "wait");
  TimeUs begun = 0;
  for (const Worker::Running& each : fixture.running(2)) begun = std::max(begun, each.begun_at);
  fixture.inspect(begun + kTimeout, kTimeout, 1);
  CHECK(fixture.inspect(begun + kTimeout + 100'000, kTimeout, 1).no_progress_possible);
  CHECK(fixture.pool.stuck() == 1);

  const PthreadCalls before = pthread_calls();
  fixture.script.gate.open();
  const auto late = collect(fixture.completions, 2);
  CHECK(sorted(numbers_of(late)) == std::vector<std::uint64_t>{1, 3});
  for (const RunPtr& each : late) CHECK(each->answered);
  fixture.pool.came_back(hung.worker);
  CHECK(fixture.pool.stuck() == 0);
  CHECK(pthread_calls().joined == before.joined + 1);
}

TEST_CASE("a client that left: its queued tasks are taken back, its running ones told to stop") {
  PoolFixture fixture(2);
  fixture.submit(1, "until-stopped", /*slot=*/1);
  fixture.submit(2, "wait", /*slot=*/2);
  fixture.running(2);
  fixture.submit(3, "text", 1);
  fixture.submit(4, "text", 2);
  fixture.submit(5, "text", 1);
  RunChain cancelled;
  fixture.pool.cancel({1, 1}, cancelled);
  const auto stopped = collect(fixture.completions, 2);  // 1, and 4 on the worker that it frees
  CHECK(sorted(numbers_of(stopped)) == std::vector<std::uint64_t>{1, 4});
  CHECK(numbers_of(cancelled) == std::vector<std::uint64_t>{3, 5});
  CHECK(fixture.script.stopped == 1);
  CHECK(fixture.script.interrupted == 1);
  CHECK(fixture.running(1).front().number == 2);
}

TEST_CASE("a client that left: what a worker has in hand for it starts with its stop token set") {
  PoolFixture fixture(1);
  std::vector<RunPtr> tasks;
  tasks.push_back(task(1, "wait", /*slot=*/1));
  tasks.push_back(task(2, "stopped?", /*slot=*/2));
  tasks.push_back(task(3, "stopped?", /*slot=*/3));
  fixture.pool.queue().push_all(tasks, /*estimated_task=*/1, monotonic_now());
  fixture.running(1);
  const bool in_hand = fixture.pool.queue().level().depth == 0;
  RunChain cancelled;
  fixture.pool.cancel({2, 1}, cancelled);
  fixture.script.gate.open();
  const auto ended = collect(fixture.completions, 3 - cancelled.size());
  CHECK(cancelled.size() == (in_hand ? 0 : 1));
  for (const RunPtr& each : ended) {
    if (each->number == 2) CHECK(each->replies == "result: stopped? yes\n");
    if (each->number == 3) CHECK(each->replies == "result: stopped? no\n");
  }
}

TEST_CASE("a hard stop sets every stop token") {
  PoolFixture fixture(3);
  for (std::uint64_t number = 0; number < 3; ++number) fixture.submit(number, "until-stopped");
  fixture.running(3);
  fixture.pool.cancel_all();
  CHECK(fixture.script.interrupted == 3);
  CHECK(collect(fixture.completions, 3).size() == 3);
  CHECK(fixture.script.stopped == 3);
}

TEST_CASE("a long task keeps neither the results before it nor the tasks after it") {
  PoolFixture fixture(1);
  std::vector<RunPtr> tasks;
  tasks.push_back(task(1, "text"));
  tasks.push_back(task(2, "wait"));
  tasks.push_back(task(3, "text"));
  tasks.push_back(task(4, "text"));
  fixture.pool.queue().push_all(tasks, /*estimated_task=*/1, monotonic_now());
  CHECK(eventually([&] {
    const auto now = fixture.pool.running();
    return now.size() == 1 && now.front().number == 2;
  }));
  fixture.pool.resize(2);
  // The long task goes on and on, and yet all the others end.
  ThreadPool::Inspection found = fixture.inspect(kFarFuture, 0);
  std::vector<std::uint64_t> ended = numbers_of(found.ended);
  const auto rest = collect(fixture.completions, 3 - ended.size());
  for (const std::uint64_t number : numbers_of(rest)) ended.push_back(number);
  CHECK(sorted(ended) == std::vector<std::uint64_t>{1, 3, 4});
  CHECK(fixture.running(1).front().number == 2);
}

TEST_CASE("a restart gets what has not begun, and copies of what runs") {
  PoolFixture fixture(2);
  fixture.submit(1, "wait", /*slot=*/4);
  fixture.submit(2, "until-stopped", /*slot=*/5);
  const TimeUs begun = fixture.running(2).back().begun_at;
  for (std::uint64_t number = 3; number < 6; ++number) fixture.submit(number, "text");
  std::vector<RunPtr> ended;
  std::vector<RunPtr> undone;
  fixture.pool.surrender(ended, undone);
  CHECK(ended.empty());
  CHECK(sorted(numbers_of(undone)) == std::vector<std::uint64_t>{3, 4, 5});
  for (const RunPtr& each : undone) CHECK(each->text == "text");

  std::vector<RunPtr> copies;
  fixture.pool.copy_running(copies);
  REQUIRE(copies.size() == 2);
  for (const RunPtr& each : copies) {
    CHECK(each->text == (each->connection.slot == 4 ? "wait" : "until-stopped"));
    CHECK(each->replies.empty());
  }
  // Those who have been answered do not wait any more.
  fixture.inspect(begun + kFarFuture, kTimeout);
  copies.clear();
  fixture.pool.copy_running(copies);
  CHECK(copies.empty());
}

TEST_CASE("B2: resizing ends idle workers only") {
  PoolFixture fixture(3);
  for (std::uint64_t number = 0; number < 3; ++number) fixture.submit(number, "wait");
  fixture.running(3);
  fixture.pool.resize(1);
  CHECK(fixture.pool.size() == 3);
  fixture.script.gate.open();
  CHECK(collect(fixture.completions, 3).size() == 3);
  REQUIRE(fixture.all_idle(3));
  const PthreadCalls before = pthread_calls();
  fixture.pool.resize(1);
  CHECK(fixture.pool.size() == 1);
  CHECK(pthread_calls().joined == before.joined + 2);
  fixture.pool.resize(0);  // one stays in any case
  CHECK(fixture.pool.size() == 1);
  fixture.pool.resize(4);
  CHECK(fixture.pool.size() == 4);
  CHECK(fixture.pool.start_failure().empty());
}

TEST_CASE("a thread that cannot be created keeps the workers there are") {
  Script script;
  CompletionQueue completions;
  std::optional<ThreadPool> pool;
  {
    const ThreadLimit two(2);
    pool.emplace(5, 100, script.factory(), completions);
    CHECK(pool->size() == 2);
    CHECK_FALSE(pool->start_failure().empty());
    pool->resize(3);
    CHECK(pool->size() == 2);
    REQUIRE(pool->queue().push(task(1, "text")));
    CHECK(collect(completions, 1).size() == 1);
  }
  pool->resize(5);
  CHECK(pool->size() == 5);
  CHECK(pool->start_failure().empty());
}

TEST_CASE("without a single thread there is no pool, and nothing is left of the attempt") {
  Script script;
  CompletionQueue completions;
  const ThreadLimit none(0);
  const PthreadCalls before = pthread_calls();
  CHECK_THROWS_AS(ThreadPool(2, 10, script.factory(), completions), std::system_error);
  const PthreadCalls after = pthread_calls();
  CHECK(after.mutexes_destroyed - before.mutexes_destroyed ==
        after.mutexes_made - before.mutexes_made);
}

TEST_CASE("a handler that cannot be made fails the start of that worker only") {
  Script script;
  CompletionQueue completions;
  int made = 0;
  const auto make = [&]() -> std::unique_ptr<Handler> {
    if (++made == 3) throw std::runtime_error("no third handler");
    return std::make_unique<ScriptedHandler>(script);
  };
  ThreadPool pool(4, 100, make, completions);
  CHECK(pool.size() == 2);
  CHECK(pool.start_failure() == "no third handler");
  pool.resize(4);
  CHECK(pool.size() == 4);
  CHECK(pool.start_failure().empty());
}

}  // namespace
}  // namespace pool_server
