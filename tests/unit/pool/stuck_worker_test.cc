#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/pool_fixture.h"
#include "support/queue_callers.h"
#include "support/wrapped_pthread.h"
#include "sys/clock.h"

namespace pool_server {
namespace {

constexpr TimeUs kGrace = 100'000;  // µs; of so short a time-out as kTimeout

// By name: a sanitizer's runtime may have a thread of its own. 0: there is none.
pid_t worker_thread() {
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(thread.path() / "comm"), name);
    if (name.starts_with("worker-")) return std::stoi(thread.path().filename());
  }
  return 0;
}

// That thread has gone, or sleeps: nothing will come of it by itself.
bool is_settled(pid_t thread) {
  return !std::filesystem::exists("/proc/self/task/" + std::to_string(thread)) || is_asleep(thread);
}

// What PoolWatch does with what came back.
void deliver(ThreadPool& pool, const std::vector<RunPtr>& ended) {
  for (const RunPtr& each : ended) {
    if (each->answered) pool.came_back(each->worker);
  }
}

// A worker in a task that was answered without it, a moment before it is given up.
struct Overdue : PoolFixture {
  Overdue() : PoolFixture(1) {
    submit(1, "wait");
    begun = running(1).front().begun_at;
    CHECK(inspect(begun + kTimeout, kTimeout, 1).overdue.size() == 1);
    thread = worker_thread();
    CHECK(thread != 0);
  }
  ThreadPool::Inspection last_look() {
    return inspect(begun + kTimeout + kGrace, kTimeout, /*max_stuck=*/1);
  }

  TimeUs begun = 0;
  pid_t thread = 0;
};

// Each mutex that the loop lets go while it looks is a moment at which the task may end: all of
// them are tried, one after the other, until a look is over before the moment comes.
constexpr int kMoments = 40;

TEST_CASE("a stuck worker that comes back at any moment of the look that gives it up is not lost") {
  int given_up = 0;
  bool came = true;
  int moment = 1;
  for (; came && moment < kMoments; ++moment) {
    CAPTURE(moment);
    Overdue pool;
    came = false;
    at_unlock(moment, [&] {
      came = true;
      pool.script.gate.open();
      CHECK(eventually([&] { return pool.script.ended == 1 && is_settled(pool.thread); }));
    });
    const auto found = pool.last_look();
    at_unlock(0, nullptr);
    if (!came) pool.script.gate.open();
    if (!found.stuck.empty()) CHECK(found.stuck.front().number == 1);
    given_up += static_cast<int>(found.stuck.size());
    const auto late = collect(pool.completions, 1);
    REQUIRE(late.size() == 1);
    CHECK(late.front()->answered);
    // It was given up and ends, or it was not and works on: joining it waits for nothing.
    if (pool.pool.stuck() == 1) {
      REQUIRE(eventually([&] {
        return !std::filesystem::exists("/proc/self/task/" + std::to_string(pool.thread));
      }));
    }
    deliver(pool.pool, late);
    CHECK(pool.pool.stuck() == 0);
    CHECK(pool.pool.size() == 1);
    pool.submit(2, "text");
    CHECK(numbers_of(collect(pool.completions, 1)) == Numbers{2});
  }
  CHECK(moment < kMoments);
  CHECK(given_up > 0);
}

TEST_CASE("a stuck worker that comes back as it is given up takes no task along") {
  bool came = true;
  int moment = 1;
  for (; came && moment < kMoments; ++moment) {
    CAPTURE(moment);
    Overdue pool;
    pool.submit(2, "until-stopped");
    came = false;
    at_unlock(moment, [&] {
      came = true;
      pool.script.gate.open();
      CHECK(eventually([&] {
        return pool.script.begun == 2 ||
               !std::filesystem::exists("/proc/self/task/" + std::to_string(pool.thread));
      }));
    });
    std::vector<Worker::Running> overdue = pool.last_look().overdue;
    at_unlock(0, nullptr);
    pool.script.gate.open();
    CHECK(eventually([&] { return pool.script.begun == 2; }));
    // The second task has its time-out like any other, whoever runs it.
    if (overdue.empty()) overdue = pool.inspect(2 * kFarFuture, kTimeout, 1).overdue;
    REQUIRE(overdue.size() == 1);
    CHECK(overdue.front().number == 2);
    const auto both = collect(pool.completions, 2);
    CHECK(sorted(numbers_of(both)) == Numbers{1, 2});
    deliver(pool.pool, both);
    CHECK(pool.pool.stuck() == 0);
  }
  CHECK(moment < kMoments);
}

// As after SIGSTOP and SIGCONT, or when the machine stood still: the loop may run before the
// worker.
TEST_CASE("a look that comes late condemns no worker that had no time to come back") {
  Overdue pool;
  const TimeUs late = pool.begun + kTimeout + 10 * kGrace;
  auto found = pool.inspect(late, kTimeout, 1);
  CHECK(found.stuck.empty());
  CHECK(found.look_again_at <= late + kGrace);
  CHECK(pool.inspect(late + kGrace / 4, kTimeout, 1).stuck.empty());
  // But once only, as a busy loop is always late.
  CHECK(pool.inspect(late + 10 * kGrace, kTimeout, 1).stuck.size() == 1);
  pool.script.gate.open();
  deliver(pool.pool, collect(pool.completions, 1));
  CHECK(pool.pool.stuck() == 0);
}

TEST_CASE("an earlier result of its last batch does not make the loop join a stuck worker") {
  PoolFixture pool(1);
  std::vector<RunPtr> tasks;
  tasks.push_back(task(1, "until-stopped"));
  tasks.push_back(task(2, "wait"));
  pool.pool.queue().push_all(tasks, /*estimated_task=*/1, monotonic_now());
  const TimeUs begun = pool.running(1).front().begun_at;
  CHECK(pool.inspect(begun + kTimeout, kTimeout, 1).overdue.size() == 1);
  TimeUs second = 0;
  CHECK(eventually([&] {
    const auto now = pool.pool.running();
    return now.size() == 1 && now.front().number == 2 && (second = now.front().begun_at) > 0;
  }));
  auto found = pool.inspect(second + kTimeout, kTimeout, 1);
  CHECK(found.overdue.size() == 1);
  std::vector<RunPtr> ended = std::move(found.ended);
  found = pool.inspect(second + kTimeout + kGrace, kTimeout, 1);
  CHECK(found.stuck.size() == 1);
  if (ended.empty()) ended = collect(pool.completions, 1);
  CHECK(numbers_of(ended) == Numbers{1});
  deliver(pool.pool, ended);
  CHECK(pool.pool.stuck() == 1);
  pool.script.gate.open();
  deliver(pool.pool, collect(pool.completions, 1));
  CHECK(pool.pool.stuck() == 0);
}

}  // namespace
}  // namespace pool_server
