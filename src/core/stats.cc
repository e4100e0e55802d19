#include "core/stats.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace pool_server {

namespace {

// Carried over by a restart in this order, and the histograms behind them. What a later release
// counts comes behind those.
constexpr std::array kTotals = {
    &Counters::accepted,     &Counters::refused,      &Counters::completed,
    &Counters::errors,       &Counters::timeouts,     &Counters::shed_busy,
    &Counters::shed_timeout, &Counters::shed_target,  &Counters::quarantined,
    &Counters::idle_closed,  &Counters::slow_lines,   &Counters::slow_readers,
    &Counters::cancelled,    &Counters::dropped,      &Counters::task_errors,
    &Counters::task_crashes, &Counters::bytes_in,     &Counters::bytes_out,
    &Counters::restarts,     &Counters::carried,      &Counters::lost,
    &Counters::cpu_before,   &Counters::programs_cpu, &Counters::served_since,
};
constexpr std::array kHistograms = {&Counters::wait, &Counters::run};
constexpr std::array kLaterTotals = {&Counters::agent_best, &Counters::agent_mean,
                                     &Counters::agent_free};

void append(std::string& out, std::string_view key, std::uint64_t value) {
  out.append(" ").append(key).append("=").append(std::to_string(value));
}

std::uint64_t us(TimeUs time) {
  return static_cast<std::uint64_t>(time);
}

}  // namespace

std::vector<std::uint64_t> totals_of(const Counters& counters) {
  std::vector<std::uint64_t> totals;
  totals.reserve(kTotals.size() + kHistograms.size() * LatencyHistogram::numbers() +
                 kLaterTotals.size());
  for (const auto member : kTotals) totals.push_back(counters.*member);
  for (const auto member : kHistograms) (counters.*member).append_to(totals);
  for (const auto member : kLaterTotals) totals.push_back(counters.*member);
  return totals;
}

void restore_totals(const std::vector<std::uint64_t>& totals, Counters& counters) {
  std::span<const std::uint64_t> rest = totals;
  const auto take = [&rest](std::size_t most) {
    const std::span<const std::uint64_t> taken = rest.first(std::min(most, rest.size()));
    rest = rest.subspan(taken.size());
    return taken;
  };
  const auto restore = [&](const auto& members) {
    const std::span<const std::uint64_t> plain = take(members.size());
    for (std::size_t i = 0; i < plain.size(); ++i) counters.*members[i] = plain[i];
  };
  restore(kTotals);
  for (const auto member : kHistograms) {
    (counters.*member).restore(take(LatencyHistogram::numbers()));
  }
  restore(kLaterTotals);
}

std::string format_stats(const StatsView& view) {
  const Counters& counters = view.counters;
  std::string out = "stats:";
  append(out, "uptime_seconds", us(view.uptime / 1'000'000));
  append(out, "connections", view.connections);
  append(out, "accepted", counters.accepted);
  append(out, "refused", counters.refused);
  append(out, "workers", view.workers);
  append(out, "active_workers", view.active_workers);
  append(out, "stuck_workers", view.stuck_workers);
  append(out, "quarantined", counters.quarantined);
  append(out, "queue_depth", view.queue_depth);
  append(out, "queue_capacity", view.queue_capacity);
  append(out, "completed", counters.completed);
  append(out, "errors", counters.errors);
  append(out, "timeouts", counters.timeouts);
  append(out, "shed", counters.shed_busy + counters.shed_timeout + counters.shed_target);
  append(out, "shed_busy", counters.shed_busy);
  append(out, "shed_timeout", counters.shed_timeout);
  append(out, "shed_target", counters.shed_target);
  append(out, "idle_closed", counters.idle_closed);
  append(out, "slow_lines", counters.slow_lines);
  append(out, "slow_readers", counters.slow_readers);
  append(out, "cancelled", counters.cancelled);
  append(out, "dropped", counters.dropped);
  append(out, "wait_p50_us", us(counters.wait.percentile(50)));
  append(out, "wait_p99_us", us(counters.wait.percentile(99)));
  append(out, "run_p50_us", us(counters.run.percentile(50)));
  append(out, "run_p99_us", us(counters.run.percentile(99)));
  return out;
}

std::string format_status(const StatsView& view) {
  std::string out(view.mode);
  out.append(std::to_string(view.active_workers)).append("/");
  out.append(std::to_string(view.workers)).append(" workers busy, queue ");
  out.append(std::to_string(view.queue_depth)).append("/");
  out.append(std::to_string(view.queue_capacity)).append(", ");
  out.append(std::to_string(view.connections)).append(" connections, ");
  out.append(std::to_string(view.counters.completed)).append(" done, ");
  out.append(std::to_string(view.counters.errors)).append(" errors, run p99 ");
  out.append(std::to_string(view.counters.run.percentile(99))).append(" us");
  return out;
}

}  // namespace pool_server
