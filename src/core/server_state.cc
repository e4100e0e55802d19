#include "core/server_state.h"

#include <algorithm>

#include "core/json.h"
#include "core/units.h"

namespace pool_server {

namespace {

using Worker = ServerState::Worker;

void write_percentiles(const std::optional<ServerState::Percentiles>& times, JsonWriter& json) {
  json.begin_object();
  const auto write = [&](std::string_view name, TimeUs ServerState::Percentiles::*which) {
    json.key(name);
    if (times) {
      json.seconds((*times).*which);
    } else {
      json.null();
    }
  };
  write("p50", &ServerState::Percentiles::p50);
  write("p99", &ServerState::Percentiles::p99);
  write("max", &ServerState::Percentiles::max);
  json.end_object();
}

void write_workers(const ServerState& state, JsonWriter& json) {
  json.key("workers").begin_array();
  for (const Worker& worker : state.workers) {
    json.begin_object();
    json.key("name").text("worker-" + std::to_string(worker.index));
    json.key("state").text(name_of(worker.state));
    if (worker.at_work) {
      json.key("task").number(worker.task);
      json.key("connection").number(worker.connection);
      json.key("for_seconds").seconds(worker.busy_for);
    }
    json.end_object();
  }
  json.end_array();
}

void write_connections(const ServerState& state, JsonWriter& json) {
  json.key("connections").begin_object();
  json.key("open").number(std::uint64_t{state.connections});
  json.key("limit").number(std::uint64_t{state.connections_limit});
  json.key("carried").number(state.counters.carried);
  json.key("greediest").begin_array();
  for (const ServerState::Client& client : state.greediest) {
    json.begin_object();
    json.key("connection").number(client.connection);
    json.key("peer").text(client.peer);
    json.key("requests").number(client.requests);
    json.key("in_flight").number(client.in_flight);
    json.key("work_seconds").seconds(client.work);
    json.end_object();
  }
  json.end_array().end_object();
}

void write_requests(const Counters& counters, JsonWriter& json) {
  json.key("requests").begin_object();
  json.key("ok").number(succeeded(counters));
  json.key("error").number(counters.task_errors);
  json.key("timeout").number(counters.timeouts);
  json.key("busy").number(counters.shed_busy);
  json.key("queue_timeout").number(counters.shed_timeout);
  json.key("queue_target").number(counters.shed_target);
  json.key("crashed").number(counters.task_crashes);
  json.end_object();
}

void write_log(const ServerState& state, JsonWriter& json) {
  json.key("log").begin_array();
  for (const RecentLog::Line& line : state.log) {
    json.begin_object();
    json.key("time").seconds(line.time);
    json.key("level").text(line.level == LogLevel::kError ? "error" : "warning");
    json.key("event").text(line.event);
    json.key("text").text(line.text);
    json.key("count").number(line.count);
    json.end_object();
  }
  json.end_array();
}

}  // namespace

std::size_t count_workers(const ServerState& state, Worker::State which) {
  return static_cast<std::size_t>(std::ranges::count(state.workers, which, &Worker::state));
}

std::string_view name_of(ServerState::Phase phase) {
  switch (phase) {
    case ServerState::Phase::kLameDuck:
      return "lame-duck";
    case ServerState::Phase::kDraining:
      return "draining";
    case ServerState::Phase::kHandingOver:
      return "handing-over";
    case ServerState::Phase::kServing:
      break;
  }
  return "serving";
}

std::string_view name_of(Worker::State state) {
  switch (state) {
    case Worker::State::kRunning:
      return "running";
    case Worker::State::kStuck:
      return "stuck";
    case Worker::State::kCrashed:
      return "crashed";
    case Worker::State::kIdle:
      break;
  }
  return "idle";
}

std::uint64_t succeeded(const Counters& counters) {
  const std::uint64_t others = counters.task_errors + counters.task_crashes + counters.timeouts;
  return counters.completed - std::min(counters.completed, others);
}

std::string_view why_no_progress(bool no_worker_available, bool can_grow, std::size_t workers,
                                 std::size_t stuck) {
  if (no_worker_available) return "no worker available: no program can be kept alive";
  if (stuck == workers && !can_grow)
    return "no worker can progress: each is in a task that does not end";
  return {};
}

std::string why_not_ready(const ServerState& state, TimeUs queue_full_for) {
  switch (state.phase) {
    case ServerState::Phase::kDraining:
      return "draining: it finishes what it has accepted, and ends";
    case ServerState::Phase::kHandingOver:
      return "handing over: the next process is about to serve";
    case ServerState::Phase::kLameDuck:
      return "lame duck: it wants no newcomers";
    case ServerState::Phase::kServing:
      break;
  }
  const std::string_view hopeless =
      why_no_progress(state.no_worker_available, state.can_grow, state.workers.size(),
                      count_workers(state, Worker::State::kStuck));
  if (!hopeless.empty()) return std::string(hopeless);
  if (queue_full_for < FullQueue::kPatience) return {};
  return "queue full for more than " + format_duration(FullQueue::kPatience);
}

std::string state_json(const ServerState& state) {
  const Counters& counters = state.counters;
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  json.key("format").number(std::uint64_t{1});
  json.key("version").text(state.version);
  json.key("handler").text(state.handler);
  json.key("pid").number(static_cast<std::uint64_t>(state.pid));
  json.key("now").seconds(state.now);
  json.key("started").seconds(state.started);
  json.key("serving_since").seconds(static_cast<std::int64_t>(counters.served_since));
  json.key("restarts_survived").number(counters.restarts);
  json.key("state").text(name_of(state.phase));
  json.key("ready").boolean(state.not_ready_because.empty());
  json.key("not_ready_because").text(state.not_ready_because);
  json.key("queue").begin_object();
  json.key("depth").number(std::uint64_t{state.queue_depth});
  json.key("capacity").number(std::uint64_t{state.queue_capacity});
  json.end_object();
  write_workers(state, json);
  json.key("workers_min").number(std::uint64_t{state.workers_min});
  json.key("workers_max").number(std::uint64_t{state.workers_max});
  write_connections(state, json);
  write_requests(counters, json);
  json.key("wait");
  write_percentiles(state.wait, json);
  json.key("run");
  write_percentiles(state.run, json);
  write_log(state, json);
  json.end_object();
  return out;
}

}  // namespace pool_server
