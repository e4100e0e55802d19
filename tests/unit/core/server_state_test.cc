#include "core/server_state.h"

#include <doctest/doctest.h>

#include <sstream>
#include <string>

#include "core/server_metrics.h"

namespace pool_server {
namespace {

using Phase = ServerState::Phase;
using WorkerState = ServerState::Worker::State;

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
  for (auto& worker : state.workers) worker.state = WorkerState::kRunning;
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
  state.workers[0].state = WorkerState::kStuck;
  CHECK(told(state).empty());
  state.workers[1].state = WorkerState::kStuck;
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
                      .state = WorkerState::kRunning,
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

// Each number is there once.
ServerState full_of_numbers() {
  ServerState state;
  state.version = "1.2.3";
  state.handler = "digest";
  state.pid = 101;
  state.now = 102'000'000;
  state.started = 103'000'000;
  state.phase = ServerState::Phase::kLameDuck;
  state.not_ready_because = "lame duck";
  state.queue_depth = 104;
  state.queue_capacity = 105;
  state.workers = {{.index = 0, .state = WorkerState::kIdle},
                   {.index = 1,
                    .state = WorkerState::kRunning,
                    .at_work = true,
                    .task = 106,
                    .connection = 107,
                    .busy_for = 108'000'000},
                   {.index = 2, .state = WorkerState::kStuck},
                   {.index = 3, .state = WorkerState::kCrashed}};
  state.workers_min = 109;
  state.workers_max = 110;
  state.connections = 111;
  state.connections_limit = 112;
  state.greediest = {{.connection = 113,
                      .peer = "192.0.2.1:114",
                      .requests = 115,
                      .in_flight = 116,
                      .work = 117'000'000}};
  state.wait = {.p50 = 118'000'000, .p99 = 119'000'000, .max = 120'000'000};
  state.run = {.p50 = 121'000'000, .p99 = 122'000'000, .max = 123'000'000};
  state.log.push_back({124'000'000, LogLevel::kWarning, "event", "text", 125});
  state.process = {.cpu = 126'000'000, .resident = 127};
  state.programs = {.cpu = 128'000'000, .resident = 129};
  Counters& counters = state.counters;
  counters.accepted = 130;
  counters.refused = 131;
  counters.completed = 1000;
  counters.errors = 132;
  counters.timeouts = 133;
  counters.shed_busy = 134;
  counters.shed_timeout = 135;
  counters.shed_target = 136;
  counters.quarantined = 137;
  counters.idle_closed = 138;
  counters.slow_lines = 139;
  counters.slow_readers = 140;
  counters.cancelled = 141;
  counters.dropped = 142;
  counters.task_errors = 143;
  counters.task_crashes = 144;
  counters.bytes_in = 145;
  counters.bytes_out = 146;
  counters.restarts = 147;
  counters.carried = 148;
  counters.lost = 149;
  counters.served_since = 150'000'000;
  for (int i = 0; i < 3; ++i) counters.wait.record(10);
  counters.run.record(1'000'000);
  return state;
}

TEST_CASE("state: all of it is told, each number in its place") {
  CHECK(state_json(full_of_numbers()) ==
        R"({"format":1,"version":"1.2.3","handler":"digest","pid":101,"now":102,)"
        R"("started":103,"serving_since":150,"restarts_survived":147,"state":"lame-duck",)"
        R"("ready":false,"not_ready_because":"lame duck","queue":{"depth":104,)"
        R"("capacity":105},"workers":[{"name":"worker-0","state":"idle"},)"
        R"({"name":"worker-1","state":"running","task":106,"connection":107,)"
        R"("for_seconds":108},{"name":"worker-2","state":"stuck"},{"name":"worker-3",)"
        R"("state":"crashed"}],"workers_min":109,"workers_max":110,)"
        R"("connections":{"open":111,"limit":112,"carried":148,)"
        R"("greediest":[{"connection":113,"peer":"192.0.2.1:114","requests":115,)"
        R"("in_flight":116,"work_seconds":117}]},"requests":{"ok":580,"error":143,)"
        R"("timeout":133,"busy":134,"queue_timeout":135,"queue_target":136,)"
        R"("crashed":144},"wait":{"p50":118,"p99":119,"max":120},"run":{"p50":121,)"
        R"("p99":122,"max":123},"log":[{"time":124,"level":"warning","event":"event",)"
        R"("text":"text","count":125}]})");
}

TEST_CASE("metrics of a server: all of it is told, each number in its place") {
  std::istringstream text(
      render_metrics(metrics_of(full_of_numbers()), MetricsFormat::kPrometheus));
  std::string samples;
  for (std::string line; std::getline(text, line);) {
    if (line[0] != '#' && line.find("_bucket") == std::string::npos) samples += line + "\n";
  }
  CHECK(samples == R"(pool_server_build_info{version="1.2.3",handler="digest"} 1
pool_server_state{state="serving"} 0
pool_server_state{state="lame-duck"} 1
pool_server_state{state="draining"} 0
pool_server_state{state="handing-over"} 0
pool_server_ready 0
pool_server_requests_total{outcome="ok"} 580
pool_server_requests_total{outcome="error"} 143
pool_server_requests_total{outcome="timeout"} 133
pool_server_requests_total{outcome="shed"} 405
pool_server_requests_total{outcome="crashed"} 144
pool_server_shed_total{reason="busy"} 134
pool_server_shed_total{reason="queue_timeout"} 135
pool_server_shed_total{reason="queue_target"} 136
pool_server_error_replies_total 132
pool_server_tasks_cancelled_total 141
pool_server_results_dropped_total 142
pool_server_wait_seconds_sum 3e-05
pool_server_wait_seconds_count 3
pool_server_run_seconds_sum 1
pool_server_run_seconds_count 1
pool_server_queue_depth 104
pool_server_queue_capacity 105
pool_server_workers{state="idle"} 1
pool_server_workers{state="running"} 1
pool_server_workers{state="stuck"} 1
pool_server_workers{state="crashed"} 1
pool_server_workers_min 109
pool_server_workers_max 110
pool_server_workers_given_up_total 137
pool_server_connections 111
pool_server_connections_limit 112
pool_server_connections_accepted_total 130
pool_server_connections_refused_total 131
pool_server_connections_closed_total{reason="idle"} 138
pool_server_connections_closed_total{reason="slow_line"} 139
pool_server_connections_closed_total{reason="slow_reader"} 140
pool_server_connections_carried_total 148
pool_server_connections_lost_total 149
pool_server_received_bytes_total 145
pool_server_sent_bytes_total 146
pool_server_restarts_survived_total 147
pool_server_process_start_time_seconds 103
pool_server_service_start_time_seconds 150
pool_server_process_cpu_seconds_total 126
pool_server_process_resident_memory_bytes 127
pool_server_programs_cpu_seconds_total 128
pool_server_programs_resident_memory_bytes 129
)");
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
