#include "core/agent_report.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace pool_server {

namespace {

// How much of an exponential average is new after `elapsed`.
double share(double elapsed, double time_constant) {
  return 1 - std::exp(-elapsed / time_constant);
}

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

double grown(std::uint64_t now, std::uint64_t before) {
  return static_cast<double>(now - std::min(now, before));
}

}  // namespace

AgentReport::AgentReport(const Memory& before) : best_(static_cast<double>(before.best) / 1e3) {
  if (before.mean == 0) return;
  // As if a worker had been seen at work until now.
  work_ = kSmooth;
  successes_ = kSmooth / (static_cast<double>(before.mean) / 1e3);
  free_ = std::min(static_cast<double>(before.free) / 1e6, 1.0);
}

AgentReport::Memory AgentReport::memory() const {
  const double known = std::min(ratio(work_, successes_), kForget);
  const auto whole = [](double value) { return static_cast<std::uint64_t>(std::llround(value)); };
  return {.best = whole(best_ * 1e3), .mean = whole(known * 1e3), .free = whole(free_ * 1e6)};
}

void AgentReport::add(const Sample& sample) {
  const bool first = std::exchange(first_, false);
  const double elapsed = first ? 0 : static_cast<double>(sample.now - last_.now);
  if (!first) {
    const double kept = 1 - share(elapsed, kSmooth);
    work_ = work_ * kept + grown(sample.run_time, last_.run_time);
    successes_ = successes_ * kept + grown(sample.succeeded, last_.succeeded);
    learn(elapsed);
  }
  last_ = sample;
  const double best = best_run(sample);
  const double mean = this->mean(sample, best);
  free_ += share(elapsed, kSmooth) * (free_now(sample, mean) - free_);
  const auto workers = static_cast<double>(sample.workers);
  const auto able = static_cast<double>(sample.able);
  const double speed = best > 0 && mean > 0 ? best / mean : 1;
  const double rate = std::min(ratio(able, workers) * speed, 1.0);
  percent_ = static_cast<unsigned>(std::clamp(std::lround(100 * rate * free_), 1L, 100L));
}

void AgentReport::learn(double elapsed) {
  if (successes_ < kEnough) return;
  const double seen = work_ / successes_;
  if (best_ == 0) {
    best_ = seen;
  } else {
    best_ += share(elapsed, seen < best_ ? kLearn : kForget) * (seen - best_);
  }
}

double AgentReport::best_run(const Sample& sample) const {
  return sample.full > 0 ? static_cast<double>(sample.workers) * 1e6 / sample.full : best_;
}

// What a reply that is no error costs, as the last look shows it; 0: nothing is known.
double AgentReport::mean(const Sample& sample, double best) const {
  double work = work_;
  double successes = successes_;
  const double known = successes > 0 ? work / successes : best;
  // Tasks that run for longer than those that end are news; as long as they are not, they are not.
  const auto running = static_cast<double>(sample.running);
  const auto running_for = static_cast<double>(sample.running_for);
  if (running_for > running * known) {
    work += running_for;
    successes += running;
  }
  if (best > 0) {
    const double idle = kIdle * static_cast<double>(sample.workers) * kSmooth;
    work += idle;
    successes += idle / best;
  }
  return ratio(work, successes);
}

double AgentReport::free_now(const Sample& sample, double mean) {
  if (sample.able == 0) return 0;
  const auto depth = static_cast<double>(sample.queue_depth);
  const double wait = depth * mean / static_cast<double>(sample.able);
  const double full = ratio(depth, static_cast<double>(sample.queue_capacity));
  return std::clamp(1 - std::max(wait / std::max(kLongWait, 2 * mean), 2 * full - 1), 0.0, 1.0);
}

std::string AgentReport::line(ServerState::Phase phase, std::string_view hopeless) const {
  using Phase = ServerState::Phase;
  if (phase == Phase::kDraining || phase == Phase::kLameDuck) return std::string(kDrain);
  if (!hopeless.empty()) return "down #" + std::string(hopeless) + '\n';
  return "up " + std::to_string(percent_) + "% ready\n";
}

}  // namespace pool_server
