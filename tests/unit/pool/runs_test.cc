// What a worker makes of runs: estimates that were wrong hurt nobody.

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "support/pool_fixture.h"
#include "support/queue_callers.h"
#include "support/tasks.h"
#include "support/waiting.h"
#include "sys/clock.h"

namespace pool_server {
namespace {

void push(ThreadPool& pool, RunPtr run) {
  REQUIRE(pool.queue().push(std::move(run)));
}

// (number, reply) of each task, in the order of the numbers.
using Replies = std::vector<std::pair<std::uint64_t, std::string>>;
Replies replies_of(const std::vector<RunPtr>& runs) {
  Replies all;
  for (const RunPtr& run : runs) {
    std::uint64_t number = run->number;
    CHECK(run->number == run->sequence);  // as the tests number them
    run->for_each_reply(
        [&](const Task&, std::string_view reply) { all.emplace_back(number++, reply); });
    CHECK(number == run->number + run->size());
  }
  std::ranges::sort(all);
  return all;
}

bool runs_now(ThreadPool& pool, std::uint64_t number) {
  return eventually([&] {
    const auto now = pool.running();
    return now.size() == 1 && now.front().number == number;
  });
}

TEST_CASE("runs: one comes back whole, with its replies in order") {
  PoolFixture fixture(1);
  const TimeUs before = monotonic_now();
  push(fixture.pool, run_of(5, {"a", "fail", "", "throw", "b\x01"}));
  const auto ended = collect(fixture.completions, 5);
  REQUIRE(ended.size() == 1);
  const Run& run = *ended.front();
  CHECK(run.replies == "result: a\nERROR: fail\nresult: \nERROR: internal error\nresult: b?\n");
  CHECK(run.errors() == 2);
  CHECK(run.tasks[1].outcome == Outcome::kError);
  CHECK_FALSE(run.tasks[1].failed);
  CHECK(run.tasks[3].failed);
  CHECK(run.has_news);
  REQUIRE(run.notes.find(8) != nullptr);
  CHECK(run.notes.find(8)->reason() == "must not be seen");
  CHECK(run.notes.find(7) == nullptr);
  CHECK(run.begun_at >= before);
  CHECK(run.begun_at + run.took() <= monotonic_now());
  CHECK(run.work == run.took());
}

TEST_CASE("runs: a long task keeps neither the replies before it nor the tasks after it") {
  PoolFixture fixture(1);
  push(fixture.pool, run_of(1, {"a", "b", "wait", "c", "d"}));
  REQUIRE(runs_now(fixture.pool, 3));
  fixture.pool.resize(2);
  const auto found = fixture.inspect(kFarFuture, 0);
  CHECK((replies_of(found.ended) == Replies{{1, "result: a\n"}, {2, "result: b\n"}}));
  CHECK((replies_of(collect(fixture.completions, 2)) ==
         Replies{{4, "result: c\n"}, {5, "result: d\n"}}));
  CHECK(fixture.running(1).front().sequence == 3);
  fixture.script.gate.open();
  const auto last = collect(fixture.completions, 1);
  REQUIRE(last.size() == 1);
  CHECK((replies_of(last) == Replies{{3, "result: wait\n"}}));
  CHECK(last.front()->begun_at + last.front()->took() <= monotonic_now());
}

TEST_CASE("B3: runs: a time-out counts from the begin of the task, and costs it alone") {
  PoolFixture fixture(1);
  push(fixture.pool, run_of(1, {"a", "until-stopped", "stopped?", "b"}));
  REQUIRE(runs_now(fixture.pool, 2));
  const TimeUs begun = fixture.running(1).front().begun_at;
  CHECK(fixture.inspect(begun + kTimeout - 1, kTimeout).overdue.empty());
  const auto found = fixture.inspect(begun + kTimeout, kTimeout);
  REQUIRE(found.overdue.size() == 1);
  CHECK(found.overdue.front().number == 2);
  CHECK(found.overdue.front().sequence == 2);
  const auto ended = collect(fixture.completions, 3);
  for (const RunPtr& run : ended) {
    CHECK(run->answered == (run->number == 2));
    if (run->answered) CHECK(run->size() == 1);
  }
  CHECK(
      (replies_of(ended) ==
       Replies{{2, "result: until-stopped\n"}, {3, "result: stopped? no\n"}, {4, "result: b\n"}}));
}

TEST_CASE("runs: a time-out that is shorter than a batch may be held up costs one task, too") {
  PoolFixture fixture(1);
  push(fixture.pool, run_of(1, {"a", "until-stopped", "b"}));
  REQUIRE(runs_now(fixture.pool, 2));
  const TimeUs begun = fixture.running(1).front().begun_at;
  constexpr TimeUs kShort = 10;
  const auto found = fixture.inspect(begun + kShort, kShort);
  REQUIRE(found.overdue.size() == 1);
  CHECK(found.overdue.front().number == 2);
  CHECK((replies_of(found.ended) == Replies{{1, "result: a\n"}}));
}

TEST_CASE("runs: a worker that is given up takes no innocent task along") {
  PoolFixture fixture(1);
  push(fixture.pool, run_of(1, {"a", "wait", "b", "c"}));
  REQUIRE(runs_now(fixture.pool, 2));
  const TimeUs begun = fixture.running(1).front().begun_at;
  CHECK(fixture.inspect(begun + kTimeout, kTimeout, 1).overdue.size() == 1);
  const auto found = fixture.inspect(begun + kTimeout + 100'000, kTimeout, 1);
  REQUIRE(found.stuck.size() == 1);
  CHECK(found.stuck.front().number == 2);
  CHECK((replies_of(collect(fixture.completions, 2)) ==
         Replies{{3, "result: b\n"}, {4, "result: c\n"}}));
  fixture.script.gate.open();
  const auto late = collect(fixture.completions, 1);
  REQUIRE(late.size() == 1);
  CHECK(late.front()->answered);
}

TEST_CASE("runs: a restart gets of a run what has not begun, and a copy of what runs") {
  PoolFixture fixture(1);
  push(fixture.pool, run_of(1, {"a", "wait", "b", "c"}, /*slot=*/4));
  REQUIRE(runs_now(fixture.pool, 2));
  std::vector<RunPtr> ended;
  std::vector<RunPtr> undone;
  fixture.pool.surrender(ended, undone);
  CHECK((replies_of(ended) == Replies{{1, "result: a\n"}}));
  REQUIRE(undone.size() == 1);
  CHECK(undone.front()->text == "bc");
  CHECK(undone.front()->sequence == 3);
  std::vector<RunPtr> copies;
  fixture.pool.copy_running(copies);
  REQUIRE(copies.size() == 1);
  CHECK(copies.front()->text == "wait");
  CHECK(copies.front()->sequence == 2);
  CHECK(copies.front()->connection.slot == 4);
}

TEST_CASE("runs: what was shed behind a long task is answered, and not queued once more") {
  PoolFixture fixture(1);
  constexpr TimeUs kLimit = 10'000'000;
  fixture.pool.queue().set_wait_limits(kLimit, fixture.pool.queue().standing_waits(0));
  std::vector<RunPtr> both;
  both.push_back(run_of(1, {"wait", "wait"}, /*slot=*/4));
  both.push_back(run_of(3, {"late"}, /*slot=*/5));
  const TimeUs now = monotonic_now();
  both[0]->accepted_at = now;
  both[1]->accepted_at = now - 2 * kLimit;
  fixture.pool.queue().push_all(both, /*estimated_task=*/1, now);
  REQUIRE(runs_now(fixture.pool, 1));
  std::vector<RunPtr> ended;
  std::vector<RunPtr> undone;
  fixture.pool.surrender(ended, undone);
  CHECK(numbers_of(undone) == Numbers{2});
  CHECK(numbers_of(ended) == Numbers{3});
}

TEST_CASE("runs: a client that left: the task that runs is stopped, those after it start so") {
  PoolFixture fixture(1);
  push(fixture.pool, run_of(1, {"until-stopped", "stopped?"}, /*slot=*/4));
  push(fixture.pool, run_of(10, {"stopped?"}, /*slot=*/5));
  REQUIRE(runs_now(fixture.pool, 1));
  RunChain cancelled;
  fixture.pool.cancel({4, 1}, cancelled);
  CHECK(cancelled.empty());
  CHECK((replies_of(collect(fixture.completions, 3)) == Replies{{1, "result: until-stopped\n"},
                                                                {2, "result: stopped? yes\n"},
                                                                {10, "result: stopped? no\n"}}));
}

// Each request takes more than half a millisecond: none is long, and all together are.
class SlowHandler final : public Handler {
 public:
  Outcome handle(std::string_view request, const StopToken&, std::string& reply) override {
    const TimeUs until = monotonic_now() + 600;
    while (monotonic_now() < until) {
    }
    reply.append(request);
    return Outcome::kOk;
  }
};

TEST_CASE("runs: a batch that goes on for long is taken back, however short each task is") {
  CompletionQueue completions;
  ThreadPool pool(
      1, 1'000, [] { return std::make_unique<SlowHandler>(); }, completions);
  RunPtr run = task(1, "x");
  for (int i = 1; i < 200; ++i) run->add("x");
  push(pool, std::move(run));
  ThreadPool::Inspection found;
  std::size_t most_waiting = 0;
  CHECK(eventually([&] {
    pool.inspect(monotonic_now(), {}, 200, 1, found);
    most_waiting = std::max(most_waiting, pool.queue().level().depth);
    return !found.ended.empty();
  }));
  CHECK(most_waiting > 0);
  std::vector<RunPtr> all = std::move(found.ended);
  CHECK(tasks_in(all) < 200);
  for (RunPtr& each : collect(completions, 200 - tasks_in(all))) all.push_back(std::move(each));
  CHECK(replies_of(all).size() == 200);
}

TEST_CASE("runs: what is taken back is cut so that each worker finds a piece of it") {
  PoolFixture fixture(1);
  push(fixture.pool, run_of(1, {"wait", "wait", "wait", "wait", "wait", "wait", "wait"}));
  REQUIRE(runs_now(fixture.pool, 1));
  fixture.pool.resize(4);
  REQUIRE(fixture.all_idle(3));
  (void)fixture.inspect(kFarFuture, 0);
  CHECK(fixture.running(4).size() == 4);  // at once: 2, 4 and 6 are at the head of a piece each
  Numbers numbers;
  for (const Worker::Running& each : fixture.pool.running()) numbers.push_back(each.number);
  CHECK(sorted(numbers) == Numbers{1, 2, 4, 6});
  std::vector<RunPtr> ended;
  std::vector<RunPtr> undone;
  fixture.pool.surrender(ended, undone);
  CHECK(sorted(numbers_of(undone)) == Numbers{3, 5, 7});
  for (const RunPtr& run : undone) CHECK(run->text == "wait");
  fixture.script.gate.open();
  CHECK(tasks_in(collect(fixture.completions, 4)) == 4);
}

TEST_CASE("runs: long replies are not copied, and keep their place") {
  PoolFixture fixture(1);
  const std::string large(100'000, 'x');
  push(fixture.pool, run_of(1, {"a", large, "b", large, large, "c"}));
  const auto ended = collect(fixture.completions, 6);
  const std::string reply = "result: " + large + "\n";
  CHECK((replies_of(ended) == Replies{{1, "result: a\n"},
                                      {2, reply},
                                      {3, "result: b\n"},
                                      {4, reply},
                                      {5, reply},
                                      {6, "result: c\n"}}));
  for (const RunPtr& run : ended) {
    if (run->replies.size() > large.size()) CHECK(run->size() == 1);
  }
}

// Reserves as much as the request says, up to so many bytes each, and waits for the gate.
class GreedyHandler final : public Handler {
 public:
  struct Shared {
    Gate gate;
    std::vector<std::string> reserved;  // read while the handler waits
    std::atomic<bool> has_reserved = false;
    std::size_t kept = SIZE_MAX;
  };
  explicit GreedyHandler(Shared& shared) : shared_(shared) {}

  void use_upcoming(Upcoming& upcoming) override { upcoming_ = &upcoming; }
  Outcome handle(std::string_view request, const StopToken&, std::string& reply) override {
    if (request.starts_with("take ")) {
      std::array<std::string_view, 16> texts;
      const auto most = static_cast<std::size_t>(std::stoi(std::string(request.substr(5))));
      const std::size_t first = upcoming_->reserve(std::span(texts).first(most / 2), 10);
      for (std::size_t i = 0; i < first; ++i) shared_.reserved.emplace_back(texts[i]);
      const std::size_t count = upcoming_->reserve(std::span(texts).first(most - most / 2), 10);
      for (std::size_t i = 0; i < count; ++i) shared_.reserved.emplace_back(texts[i]);
      upcoming_->keep_reserved(shared_.kept);
      shared_.has_reserved = true;
      shared_.gate.pass();
      upcoming_->keep_reserved(0);
      upcoming_->was_work(3);
    }
    reply.append(request);
    return Outcome::kOk;
  }

 private:
  Shared& shared_;
  Upcoming* upcoming_ = nullptr;
};

// One worker with such a handler and three runs in hand, the first of which has begun.
struct Greedy {
  explicit Greedy(const std::string& first, std::size_t kept = SIZE_MAX) {
    shared.kept = kept;
    std::vector<RunPtr> runs;
    runs.push_back(run_of(1, {first, "b", "c"}, /*slot=*/0));
    runs.push_back(run_of(11, {"d", "e"}, /*slot=*/1));
    runs.push_back(run_of(21, {"f"}, /*slot=*/2));
    pool.queue().push_all(runs, /*estimated_task=*/0.1, monotonic_now());
    CHECK(eventually([&] { return shared.has_reserved.load(); }));
  }
  Greedy(const Greedy&) = delete;
  Greedy& operator=(const Greedy&) = delete;
  ~Greedy() { shared.gate.open(); }

  std::vector<std::uint64_t> take_back() {
    std::vector<RunPtr> ended;
    std::vector<RunPtr> undone;
    pool.surrender(ended, undone);
    CHECK(ended.empty());
    return sorted(numbers_of(undone));
  }

  GreedyHandler::Shared shared;
  CompletionQueue completions;
  ThreadPool pool{1, 100, [this] { return std::make_unique<GreedyHandler>(shared); }, completions};
};

TEST_CASE("runs: what a handler reserves goes over the ends of runs, and is not taken back") {
  for (const auto& each : {std::pair<int, Numbers>{0, {2, 3, 11, 12, 21}},
                           {1, {3, 11, 12, 21}},
                           {2, {11, 12, 21}},
                           {3, {12, 21}},
                           {4, {21}},
                           {5, {}},
                           {9, {}}}) {
    const int most = each.first;
    const Numbers& undone = each.second;
    CAPTURE(most);
    Greedy greedy("take " + std::to_string(most));
    const std::vector<std::string> all = {"b", "c", "d", "e", "f"};
    const auto count = std::min<std::size_t>(static_cast<std::size_t>(most), all.size());
    CHECK(greedy.shared.reserved ==
          std::vector<std::string>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)));
    CHECK(greedy.take_back() == undone);
    CHECK(greedy.take_back().empty());
    CHECK(greedy.pool.running().front().number == 1);
    greedy.shared.gate.open();
    const auto ended = collect(greedy.completions, 1 + count);
    CHECK(tasks_in(ended) == 1 + count);
    Replies expected = {{1, "result: take " + std::to_string(most) + "\n"}};
    const Numbers numbers = {2, 3, 11, 12, 21};
    for (std::size_t i = 0; i < count; ++i) {
      expected.emplace_back(numbers[i], "result: " + all[i] + "\n");
    }
    CHECK(replies_of(ended) == expected);
  }
}

TEST_CASE("runs: what a handler keeps reserved is the first of what it had") {
  Greedy greedy("take 5", /*kept=*/1);
  CHECK(greedy.take_back() == Numbers{3, 11, 12, 21});
}

TEST_CASE("runs: what a handler says that it was work is taken for it") {
  Greedy greedy("take 0");
  CHECK(greedy.take_back().size() == 5);
  greedy.shared.gate.open();
  const auto ended = collect(greedy.completions, 1);
  REQUIRE(ended.size() == 1);
  CHECK(ended.front()->work <= 3);
}

TEST_CASE("task queue: a run counts as its tasks, and one is the least that is taken") {
  TaskQueue queue(6);
  Popper popper(queue);
  REQUIRE(queue.push(run_of(0, {"a", "b", "c"}, 0)));
  REQUIRE(queue.push(run_of(10, {"d", "e"}, 1)));
  CHECK(queue.level().depth == 5);
  CHECK(queue.level().free == 1);
  RunPtr large = run_of(20, {"f", "g"}, 2);
  CHECK_FALSE(queue.try_push(large));
  CHECK(popper.pop(32) == Numbers{0, 1, 2});  // estimates are not known: one run at a time
  CHECK(queue.try_push(large));
  CHECK(popper.pop_all() == Numbers{10, 11, 20, 21});
}

}  // namespace
}  // namespace pool_server
