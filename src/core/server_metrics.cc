#include "core/server_metrics.h"

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace pool_server {

namespace {

using Type = Metric::Type;
using State = ServerState::Worker::State;

double number(std::uint64_t value) {
  return static_cast<double>(value);
}

// Bucket limits are powers of two of microseconds, where those of our histogram end too: each count
// is exact. From 16 us to 67 s.
constexpr int kLowestLimit = 4;
constexpr int kHighestLimit = 26;

class Metrics {
 public:
  void add(Type type, std::string_view name, double value, std::string_view help) {
    push(type, name, help).samples.push_back({{}, value});
  }

  // One sample for each value of the label.
  using Values = std::initializer_list<std::pair<std::string_view, double>>;
  void add(Type type, std::string_view name, std::string_view label, Values values,
           std::string_view help) {
    Metric& metric = push(type, name, help);
    for (const auto& [which, value] : values) {
      metric.samples.push_back({{{label, std::string(which)}}, value});
    }
  }

  void add_info(std::string_view name, std::vector<Metric::Label> labels, std::string_view help) {
    push(Type::kInfo, name, help).samples.push_back({std::move(labels), 1});
  }

  void add(std::string_view name, const LatencyHistogram& histogram, std::string_view help) {
    Metric& metric = push(Type::kHistogram, name, help);
    for (int power = kLowestLimit; power <= kHighestLimit; ++power) {
      const double limit = number(std::uint64_t{1} << power) / 1e6;
      metric.buckets.push_back({limit, histogram.count_below_power(power)});
    }
    metric.sum = number(histogram.sum()) / 1e6;
    metric.count = histogram.count();
  }

  std::vector<Metric> take() { return std::move(all_); }

 private:
  Metric& push(Type type, std::string_view name, std::string_view help) {
    Metric& metric = all_.emplace_back();
    metric.name = name;
    metric.help = help;
    metric.type = type;
    return metric;
  }

  std::vector<Metric> all_;
};

void add_requests(const Counters& counters, Metrics& to) {
  const std::uint64_t shed = counters.shed_busy + counters.shed_timeout + counters.shed_target;
  to.add(Type::kCounter, "pool_server_requests", "outcome",
         {{"ok", number(succeeded(counters))},
          {"error", number(counters.task_errors)},
          {"timeout", number(counters.timeouts)},
          {"shed", number(shed)},
          {"crashed", number(counters.task_crashes)}},
         "Requests that got past the protocol, by what became of them.");
  to.add(Type::kCounter, "pool_server_shed", "reason",
         {{"busy", number(counters.shed_busy)},
          {"queue_timeout", number(counters.shed_timeout)},
          {"queue_target", number(counters.shed_target)}},
         "Requests refused for overload, by why.");
  to.add(Type::kCounter, "pool_server_error_replies", number(counters.errors),
         "Replies that began with ERROR, whatever for.");
  to.add(Type::kCounter, "pool_server_tasks_cancelled", number(counters.cancelled),
         "Queued requests taken back because their client left.");
  to.add(Type::kCounter, "pool_server_results_dropped", number(counters.dropped),
         "Results that found their client gone, or answered already.");
  to.add("pool_server_wait_seconds", counters.wait,
         "Time from the acceptance of a request to its begin on a worker.");
  to.add("pool_server_run_seconds", counters.run,
         "Time from the begin of a request on a worker to its end.");
}

void add_pool(const ServerState& state, Metrics& to) {
  const auto workers = [&state](State which) { return number(count_workers(state, which)); };
  to.add(Type::kGauge, "pool_server_queue_depth", number(state.queue_depth),
         "Requests that wait for a worker.");
  to.add(Type::kGauge, "pool_server_queue_capacity", number(state.queue_capacity),
         "Requests that may wait for a worker.");
  to.add(Type::kGauge, "pool_server_workers", "state",
         {{"idle", workers(State::kIdle)},
          {"running", workers(State::kRunning)},
          {"stuck", workers(State::kStuck)},
          {"crashed", workers(State::kCrashed)}},
         "Workers, by what they do just now.");
  to.add(Type::kGauge, "pool_server_workers_min", state.workers_min,
         "The fewest workers that the pool keeps.");
  to.add(Type::kGauge, "pool_server_workers_max", state.workers_max,
         "The most workers that the pool may have.");
  to.add(Type::kCounter, "pool_server_workers_given_up", number(state.counters.quarantined),
         "Workers that were replaced because their task did not end.");
}

void add_connections(const ServerState& state, Metrics& to) {
  const Counters& counters = state.counters;
  to.add(Type::kGauge, "pool_server_connections", number(state.connections),
         "Clients that are served.");
  to.add(Type::kGauge, "pool_server_connections_limit", number(state.connections_limit),
         "Clients that may be served at once.");
  to.add(Type::kCounter, "pool_server_connections_accepted", number(counters.accepted),
         "Clients that were let in.");
  to.add(Type::kCounter, "pool_server_connections_refused", number(counters.refused),
         "Clients that were turned away at a limit.");
  to.add(Type::kCounter, "pool_server_connections_closed", "reason",
         {{"idle", number(counters.idle_closed)},
          {"slow_line", number(counters.slow_lines)},
          {"slow_reader", number(counters.slow_readers)}},
         "Clients that the server closed for what they did not do.");
  to.add(Type::kCounter, "pool_server_connections_carried", number(counters.carried),
         "Clients that stayed connected over a restart.");
  to.add(Type::kCounter, "pool_server_connections_lost", number(counters.lost),
         "Clients that a restart was to keep connected and did not.");
  to.add(Type::kCounter, "pool_server_received_bytes", number(counters.bytes_in),
         "Bytes received from clients.");
  to.add(Type::kCounter, "pool_server_sent_bytes", number(counters.bytes_out),
         "Bytes sent to clients.");
}

void add_process(const ServerState& state, Metrics& to) {
  const auto seconds = [](std::uint64_t us) { return number(us) / 1e6; };
  to.add(Type::kCounter, "pool_server_restarts_survived", number(state.counters.restarts),
         "Restarts over which counters and clients were carried.");
  to.add(Type::kGauge, "pool_server_process_start_time_seconds",
         seconds(static_cast<std::uint64_t>(state.started)),
         "When this process started, in seconds of Unix time.");
  to.add(Type::kGauge, "pool_server_service_start_time_seconds",
         seconds(state.counters.served_since),
         "When the first process started whose counters these are, in seconds of Unix time.");
  to.add(Type::kCounter, "pool_server_process_cpu_seconds", seconds(state.process.cpu),
         "CPU time of the server and its worker threads.");
  to.add(Type::kGauge, "pool_server_process_resident_memory_bytes", number(state.process.resident),
         "Memory of the server that is resident.");
  if (!state.programs) return;
  to.add(Type::kCounter, "pool_server_programs_cpu_seconds", seconds(state.programs->cpu),
         "CPU time of the programs that work for the server, those that have ended included.");
  to.add(Type::kGauge, "pool_server_programs_resident_memory_bytes",
         number(state.programs->resident), "Memory of those programs that is resident.");
}

}  // namespace

std::vector<Metric> metrics_of(const ServerState& state) {
  Metrics metrics;
  metrics.add_info("pool_server_build",
                   {{"version", std::string(state.version)}, {"handler", state.handler}},
                   "What runs, and the work that it does.");
  using Phase = ServerState::Phase;
  const auto is = [&state](Phase phase) {
    return std::pair{name_of(phase), state.phase == phase ? 1.0 : 0.0};
  };
  metrics.add(
      Type::kGauge, "pool_server_state", "state",
      {is(Phase::kServing), is(Phase::kLameDuck), is(Phase::kDraining), is(Phase::kHandingOver)},
      "What the server is about: 1 for one of the states.");
  metrics.add(Type::kGauge, "pool_server_ready", state.not_ready_because.empty() ? 1 : 0,
              "Whether it would take work now, as /readyz says it.");
  add_requests(state.counters, metrics);
  add_pool(state, metrics);
  add_connections(state, metrics);
  add_process(state, metrics);
  return metrics.take();
}

}  // namespace pool_server
