#include "core/history.h"

#include "core/json.h"

namespace pool_server {

namespace {

using Percentiles = ServerState::Percentiles;

std::optional<Percentiles> percentiles(const LatencyHistogram& now,
                                       const LatencyHistogram& before) {
  const LatencyHistogram rest = now.since(before);
  if (rest.count() == 0) return std::nullopt;
  return Percentiles{rest.percentile(50), rest.percentile(99), rest.percentile(100)};
}

void write(const std::optional<Percentiles>& times, JsonWriter& json) {
  if (times) {
    json.seconds(times->p50).seconds(times->p99).seconds(times->max);
  } else {
    json.null().null().null();
  }
}

std::uint64_t shed(const Counters& counters) {
  return counters.shed_busy + counters.shed_timeout + counters.shed_target;
}

}  // namespace

History::History(const Counters& counters) : before_{counters} {}

// A row is told as what went on in a step. One that would be of more, as there was no memory for
// the one before, or nobody got on, is left out.
void History::add(const ServerState& state) {
  const Counters& now = state.counters;
  const Counters& before = before_.back();
  const bool is_a_step = last_ == 0 || state.now - last_ < 2 * kStep;
  Row row{.time = state.now / 1'000'000, .json = {}};
  JsonWriter json(row.json);
  json.begin_array();
  json.number(static_cast<std::uint64_t>(row.time));
  json.number(succeeded(now) - succeeded(before));
  json.number(now.task_errors - before.task_errors);
  json.number(now.timeouts - before.timeouts);
  json.number(shed(now) - shed(before));
  json.number(now.task_crashes - before.task_crashes);
  write(percentiles(now.wait, before.wait), json);
  write(percentiles(now.run, before.run), json);
  json.number(std::uint64_t{state.queue_depth});
  json.number(std::uint64_t{state.queue_capacity});
  json.number(std::uint64_t{state.workers.size()});
  json.number(std::uint64_t{count_workers(state, ServerState::Worker::State::kRunning)});
  json.number(std::uint64_t{count_workers(state, ServerState::Worker::State::kStuck)});
  json.number(std::uint64_t{state.connections});
  json.end_array();
  before_.push_back(now);
  last_ = state.now;
  if (before_.size() > kWindow) before_.pop_front();
  if (is_a_step) rows_.push_back(std::move(row));
  if (rows_.size() > kRows) rows_.pop_front();
}

std::optional<Percentiles> History::wait(const Counters& counters) const {
  return percentiles(counters.wait, before_.front().wait);
}

std::optional<Percentiles> History::run(const Counters& counters) const {
  return percentiles(counters.run, before_.front().run);
}

std::string History::json(double since) const {
  std::string out =
      R"({"format":1,"step":2,"columns":["time","ok","error","timeout","shed","crashed",)"
      R"("wait_p50","wait_p99","wait_max","run_p50","run_p99","run_max","queue_depth",)"
      R"("queue_capacity","workers","running","stuck","connections"],"rows":[)";
  std::size_t size = out.size();
  for (const Row& row : rows_) size += row.json.size() + 1;
  out.reserve(size + 1);
  bool first = true;
  for (const Row& row : rows_) {
    if (static_cast<double>(row.time) < since) continue;
    if (!first) out.push_back(',');
    first = false;
    out.append(row.json);
  }
  out.append("]}");
  return out;
}

}  // namespace pool_server
