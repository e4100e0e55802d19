#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pool_server::views {

// What a server tells of itself at /state.json and /history.json, checked. All text in it is plain
// (see plain_text.h), all times are in seconds, those of the clock since 1970.
struct ServerState {
  struct Worker {
    std::string name;
    std::string state;  // "idle", "running", "stuck", "crashed"
    std::optional<std::uint64_t> task;
    std::optional<std::uint64_t> connection;
    std::optional<double> seconds;  // how long it has been at the task
  };
  struct Client {
    std::string peer;
    std::uint64_t connection = 0;
    std::uint64_t requests = 0;
    std::uint64_t in_flight = 0;
    double work = 0;
  };
  struct Percentiles {
    std::optional<double> p50, p99, max;  // none: nothing ran
  };
  struct LogLine {
    double time = 0;
    std::string level, event, text;
    std::uint64_t count = 1;
  };

  std::string version, handler, state, not_ready_because;
  std::uint64_t pid = 0;
  std::uint64_t restarts_survived = 0;
  bool ready = false;
  double now = 0;
  double started = 0;
  std::uint64_t queue_depth = 0;
  std::uint64_t queue_capacity = 0;
  std::vector<Worker> workers;
  std::uint64_t workers_min = 0;
  std::uint64_t workers_max = 0;
  std::uint64_t connections = 0;
  std::uint64_t connection_limit = 0;
  std::uint64_t carried = 0;
  std::vector<Client> clients;  // the greediest
  Percentiles wait, run;
  std::vector<LogLine> log;  // oldest first
};

// Answers that ended in `step` seconds until `time`, by outcome.
struct HistoryRow {
  double time = 0;
  double step = 1;
  double ok = 0;
  double error = 0;
  double timeout = 0;
  double shed = 0;
  double crashed = 0;

  double all() const { return ok + error + timeout + shed + crashed; }
};

// Throw std::invalid_argument that says, in plain text, why that is no answer of a pool-server.
// What is missing in one that is, is as if it were 0, none or empty.
ServerState parse_state(std::string_view json);
std::vector<HistoryRow> parse_history(std::string_view json);  // oldest first

}  // namespace pool_server::views
