#include "core/server_state.h"

#include <doctest/doctest.h>

#include <string>

#include "core/server_metrics.h"

namespace pool_server {
namespace {

using Phase = ServerState::Phase;
using State = ServerState::Worker::State;

ServerState idle_server() {
  ServerState state;
  state.version = "1";
  state.handler = "digest";
  state.queue_capacity = 100;
  state.workers = {{.index = 0}, {.index = 1}};
  return state;
}

std::string why(const ServerState& state, TimeUs full_for = 0) {
  return why_not_ready(state, full_for);
}

TEST_CASE("readiness: an idle server is ready, a busy one too") {
  ServerState state = idle_server();
  CHECK(why(state).empty());
  for (auto& worker : state.workers) worker.state = State::kRunning;
  state.queue_depth = state.queue_capacity;
  CHECK(why(state, FullQueue::kPatience - 1).empty());
}

TEST_CASE("readiness: each reason is told, and in one line") {
  const auto told = [](const ServerState& state, TimeUs full_for = 0) {
    const std::string reason = why(state, full_for);
    CHECK(reason.find('\n') == std::string::npos);
    return reason.substr(0, reason.find(':'));
  };
  ServerState state = idle_server();
  CHECK(told(state, FullQueue::kPatience) == "queue full for more than 5s");
  state.workers[0].state = State::kStuck;
  CHECK(told(state).empty());
  state.workers[1].state = State::kStuck;
  CHECK(told(state) == "no worker can progress");
  state.no_worker_available = true;
  CHECK(told(state) == "no worker available");
  state.phase = Phase::kLameDuck;
  CHECK(told(state) == "lame duck");
  state.phase = Phase::kHandingOver;
  CHECK(told(state) == "handing over");
  state.phase = Phase::kDraining;
  CHECK(told(state) == "draining");
}

TEST_CASE("readiness: a queue is full for as long as it has been at each look") {
  FullQueue queue;
  CHECK(queue.look(0, 10, 1'000) == 0);
  CHECK(queue.look(9, 10, 2'000) == 0);
  CHECK(queue.look(10, 10, 5'000) == 3'000);
  CHECK(queue.look(8, 10, 6'000) == 0);
  CHECK(queue.look(9, 10, 7'000) == 0);
  CHECK(queue.look(9, 10, 8'000) == 1'000);
  FullQueue of_none;
  CHECK(of_none.look(0, 0, 1) == 0);
  CHECK(of_none.look(0, 0, 9) == 0);
}

TEST_CASE("state: what was not an error, a timeout or a crash has succeeded") {
  Counters counters;
  counters.completed = 10;
  counters.task_errors = 3;
  counters.task_crashes = 1;
  counters.timeouts = 2;
  CHECK(succeeded(counters) == 4);
  counters.timeouts = 20;  // of a snapshot that makes no sense
  CHECK(succeeded(counters) == 0);
}

TEST_CASE("state: only a worker at work has a task") {
  ServerState state = idle_server();
  state.workers[1] = {.index = 1,
                      .state = State::kRunning,
                      .at_work = true,
                      .task = 12,
                      .connection = 3,
                      .busy_for = 1'500};
  const std::string json = state_json(state);
  CHECK(json.find(R"({"name":"worker-0","state":"idle"},)") != std::string::npos);
  CHECK(
      json.find(
          R"({"name":"worker-1","state":"running","task":12,"connection":3,"for_seconds":0.0015})") !=
      std::string::npos);
  CHECK(json.find(R"("wait":{"p50":null,"p99":null,"max":null})") != std::string::npos);
}

TEST_CASE("state: a log line is shown as it was, with its count") {
  ServerState state = idle_server();
  state.log.push_back({1'700'000'000'100'000, LogLevel::kError, "worker-stuck", "a \"b\" \xff", 7});
  CHECK(state_json(state).find(R"([{"time":1700000000.1,"level":"error","event":"worker-stuck",)"
                               "\"text\":\"a \\\"b\\\" \xef\xbf\xbd\",\"count\":7}]") !=
        std::string::npos);
}

TEST_CASE("recent log: keeps the newest lines, and no more of a line than has its place") {
  RecentLog log;
  for (std::uint64_t i = 0; i < 60; ++i) log.add(0, LogLevel::kWarning, "e", "x", i);
  CHECK(log.lines().size() == RecentLog::kMost);
  CHECK(log.lines().front().count == 10);
  log.add(0, LogLevel::kWarning, "long", std::string(1'000, 'x'), 1);
  CHECK(log.lines().back().text == std::string(RecentLog::kLongest, 'x') + "...");
}

TEST_CASE("recent log: what was left out counts with the last line of its event") {
  RecentLog log;
  log.add(0, LogLevel::kWarning, "a", "first", 1);
  log.add(0, LogLevel::kWarning, "a", "second", 1);
  log.add(0, LogLevel::kWarning, "b", "other", 1);
  CHECK(log.add_to_last("a", 5));
  CHECK_FALSE(log.add_to_last("c", 5));
  CHECK(log.lines()[0].count == 1);
  CHECK(log.lines()[1].count == 6);
  CHECK(log.lines()[2].count == 1);
}

TEST_CASE("metrics of a server: no name is there twice, and programs only where there are some") {
  ServerState state = idle_server();
  const std::vector<Metric> without = metrics_of(state);
  for (std::size_t i = 0; i < without.size(); ++i) {
    CHECK(without[i].name.starts_with("pool_server_"));
    CHECK(without[i].help.ends_with("."));
    for (std::size_t j = 0; j < i; ++j) CHECK(without[i].name != without[j].name);
  }
  state.programs = {.cpu = 1, .resident = 1};
  CHECK(metrics_of(state).size() == without.size() + 2);
}

}  // namespace
}  // namespace pool_server
