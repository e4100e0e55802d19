#include "views/server_state.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

namespace pool_server::views {
namespace {

TEST_CASE("server state: what the server tells is read") {
  const ServerState state = parse_state(R"({
    "format": 1, "version": "0.1.0", "handler": "digest", "pid": 123, "now": 1700000000.5, "started": 1700000000.0,
    "serving_since": 1690000000.0, "restarts_survived": 2, "state": "serving", "ready": true, "not_ready_because": "",
    "queue": {"depth": 3, "capacity": 1024},
    "workers": [{"name": "worker-0", "state": "idle"},
                {"name": "worker-1", "state": "stuck", "task": 12, "connection": 3, "for_seconds": 0.12}],
    "workers_min": 1, "workers_max": 4,
    "connections": {"open": 5, "limit": 1000, "carried": 1,
      "greediest": [{"connection": 3, "peer": "127.0.0.1:4444", "requests": 10, "in_flight": 1, "work_seconds": 0.5}]},
    "requests": {"ok": 1}, "wait": {"p50": 0.001, "p99": null, "max": 0.003}, "run": null,
    "log": [{"time": 1700000000.1, "level": "warning", "event": "task-timeout", "text": "slow", "count": 7}]})");
  CHECK(state.version == "0.1.0");
  CHECK(state.handler == "digest");
  CHECK(state.pid == 123);
  CHECK(state.now == 1700000000.5);
  CHECK(state.started == 1700000000.0);
  CHECK(state.restarts_survived == 2);
  CHECK(state.state == "serving");
  CHECK(state.ready);
  CHECK(state.queue_depth == 3);
  CHECK(state.queue_capacity == 1024);
  REQUIRE(state.workers.size() == 2);
  CHECK(state.workers[0].name == "worker-0");
  CHECK_FALSE(state.workers[0].task);
  CHECK(state.workers[1].state == "stuck");
  CHECK(state.workers[1].task == 12);
  CHECK(state.workers[1].connection == 3);
  CHECK(state.workers[1].seconds == 0.12);
  CHECK(state.workers_min == 1);
  CHECK(state.workers_max == 4);
  CHECK(state.connections == 5);
  CHECK(state.connection_limit == 1000);
  CHECK(state.carried == 1);
  REQUIRE(state.clients.size() == 1);
  CHECK(state.clients[0].peer == "127.0.0.1:4444");
  CHECK(state.clients[0].connection == 3);
  CHECK(state.clients[0].requests == 10);
  CHECK(state.clients[0].in_flight == 1);
  CHECK(state.clients[0].work == 0.5);
  CHECK(state.wait.p50 == 0.001);
  CHECK_FALSE(state.wait.p99);
  CHECK(state.wait.max == 0.003);
  CHECK_FALSE(state.run.p50);
  REQUIRE(state.log.size() == 1);
  CHECK(state.log[0].event == "task-timeout");
  CHECK(state.log[0].count == 7);
}

TEST_CASE("server state: text is plain, whoever wrote it") {
  const ServerState state = parse_state(
      R"({"format": 1, "handler": "\u001b[2J", "workers": [{"name": "\u009b1m", "state": "a\nb"}],
          "connections": {"greediest": [{"peer": "\u202eevil"}]}, "not_ready_because": "\u0007",
          "log": [{"text": "\u001b]52;c;\u0007", "level": "\u0000", "event": "\r"}]})");
  CHECK(state.handler == "?[2J");
  CHECK(state.workers.at(0).name == "?1m");
  CHECK(state.workers.at(0).state == "a?b");
  CHECK(state.clients.at(0).peer == "?evil");
  CHECK(state.not_ready_because == "?");
  CHECK(state.log.at(0).text == "?]52;c;?");
  CHECK(state.log.at(0).level == "?");
}

TEST_CASE("server state: what is of another type is as if it were not there") {
  const ServerState state = parse_state(
      R"({"format": 1, "pid": -5, "now": "x", "ready": 1, "queue": [], "workers": {"a": 1}, "workers_max": 1e300,
          "connections": 7, "wait": 3, "log": [null, 1, [], {"count": -1, "time": null}], "handler": 5})");
  CHECK(state.pid == 0);
  CHECK(state.now == 0);
  CHECK_FALSE(state.ready);
  CHECK(state.queue_capacity == 0);
  CHECK(state.workers.empty());
  CHECK(state.workers_max == 0);
  CHECK(state.log.size() == 1);
  CHECK(state.log[0].count == 1);
  CHECK(state.handler.empty());
}

TEST_CASE("server state: no answer of a pool-server") {
  const std::string deep = std::string(200'000, '[');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("{}"),
        std::string(R"({"format": 2})"), std::string(R"({"format": "1"})"),
        std::string(R"({"format": 1} x)"), std::string("{\"format\": 1, \"handler\": \"\xFF\"}"),
        std::string(R"({"format": 1, "now": 1e999})"), deep}) {
    CAPTURE(text.substr(0, 40));
    CHECK_THROWS_AS(parse_state(text), std::invalid_argument);
    CHECK_THROWS_AS(parse_history(text), std::invalid_argument);
  }
}

TEST_CASE("server state: the history is read by the names of its columns") {
  const auto rows = parse_history(
      R"({"format": 1, "step": 2, "columns": ["ok", "new", "time", "shed", "error", "timeout", "crashed"],
          "rows": [[5, 0, 100, 1, 2, 3, 4], [5], null, [null, null, 102], ["a", "b", "c"]]})");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].time == 100);
  CHECK(rows[0].step == 2);
  CHECK(rows[0].ok == 5);
  CHECK(rows[0].all() == 15);
  CHECK(rows[1].time == 102);
  CHECK(rows[1].all() == 0);
  CHECK_THROWS_AS(parse_history(R"({"format": 1, "step": 0, "columns": ["time"], "rows": []})"),
                  std::invalid_argument);
  CHECK_THROWS_AS(parse_history(R"({"format": 1, "step": 2, "columns": ["ok"], "rows": []})"),
                  std::invalid_argument);
}

}  // namespace
}  // namespace pool_server::views
