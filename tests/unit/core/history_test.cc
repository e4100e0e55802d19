#include "core/history.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <new>
#include <string>

#include "support/failing_new.h"

namespace pool_server {
namespace {

std::string rows(const History& history, double since = 0) {
  const std::string json = history.json(since);
  const std::string_view begin = "\"rows\":[";
  const std::size_t at = json.find(begin) + begin.size();
  return json.substr(at, json.size() - at - 2);  // "]}"
}

struct HistoryFixture {
  ServerState state;
  History history{state.counters};

  void run(TimeUs wait, TimeUs run) {
    state.counters.wait.record(wait);
    state.counters.run.record(run);
    ++state.counters.completed;
  }
  void end_step() {
    state.now += History::kStep;
    history.add(state);
  }
};

TEST_CASE_FIXTURE(HistoryFixture, "history: a row tells of its own step, times in seconds") {
  state.now = 1'000'000'000;
  state.queue_capacity = 9;
  run(10, 3);
  run(10, 15);
  state.counters.task_errors = 1;
  state.counters.shed_busy = state.counters.shed_target = 2;
  state.workers = {{.index = 0, .state = ServerState::Worker::State::kRunning},
                   {.index = 1, .state = ServerState::Worker::State::kStuck}};
  state.connections = 5;
  end_step();
  end_step();
  CHECK(rows(history) ==
        "[1002,1,1,0,4,0,1e-05,1e-05,1e-05,3e-06,1.5e-05,1.5e-05,0,9,2,1,1,5],"
        "[1004,0,0,0,0,0,null,null,null,null,null,null,0,9,2,1,1,5]");
}

TEST_CASE_FIXTURE(HistoryFixture, "history: counts from where it begins") {
  run(1, 1);
  History later(state.counters);
  later.add(state);
  CHECK(rows(later).starts_with("[0,0,0,0,0,0,null"));
}

TEST_CASE_FIXTURE(HistoryFixture, "history: keeps a quarter of an hour") {
  for (std::size_t i = 0; i < History::kRows + 10; ++i) end_step();
  const std::string all = rows(history);
  CHECK(std::ranges::count(all, '[') == History::kRows);
  CHECK(all.starts_with("[22,"));
  CHECK(static_cast<TimeUs>(History::kRows) * History::kStep == 15 * 60 * 1'000'000LL);
  CHECK(all.size() < 100'000);
}

TEST_CASE_FIXTURE(HistoryFixture, "history: gives what was since a time, that time included") {
  for (int i = 0; i < 5; ++i) end_step();
  CHECK(rows(history, 8).starts_with("[8,"));
  CHECK(rows(history, 8.5).starts_with("[10,"));
  CHECK(rows(history, 11).empty());
  CHECK(history.json(11).ends_with("\"rows\":[]}"));
}

TEST_CASE_FIXTURE(HistoryFixture,
                  "history: percentiles are of about the last 10 s, and then forgotten") {
  CHECK_FALSE(history.run(state.counters));
  run(5, 7);
  CHECK(history.run(state.counters)->max == 7);
  CHECK(history.wait(state.counters)->p50 == 5);
  for (int i = 0; i < 4; ++i) end_step();
  CHECK(history.run(state.counters)->p99 == 7);
  end_step();
  CHECK_FALSE(history.run(state.counters));
  run(1, 2);
  CHECK(history.run(state.counters)->max == 2);
}

TEST_CASE_FIXTURE(HistoryFixture, "history: what went on in more than a step is no row of one") {
  end_step();
  run(1, 1);
  state.now += 10 * History::kStep;  // the loop stood still
  history.add(state);
  end_step();
  const std::string all = rows(history);
  CHECK(std::ranges::count(all, '[') == 2);
  CHECK(all.find(",1,0,0,0,0,0.") == std::string::npos);
}

TEST_CASE("history: without memory a row is missing, and nothing is told twice") {
  for (std::size_t successes = 0; successes < 12; ++successes) {
    CAPTURE(successes);
    HistoryFixture fixture;
    for (int i = 0; i < 10; ++i) fixture.end_step();
    fixture.run(1, 1);
    try {
      const FailingNew memory(successes, FailingNew::Then::kRecovers);
      fixture.end_step();
    } catch (const std::bad_alloc&) {
    }
    for (int i = 0; i < 3; ++i) fixture.end_step();
    const std::string all = rows(fixture.history);
    const std::string_view row_with_one = ",1,0,0,0,0,1e-06";
    std::size_t told = 0;
    for (std::size_t at = 0; (at = all.find(row_with_one, at)) != std::string::npos; ++at) ++told;
    CHECK(told <= 1);
    CHECK(std::ranges::count(all, '[') >= 12);
  }
}

}  // namespace
}  // namespace pool_server
