#include "core/stats.h"

#include <doctest/doctest.h>

#include <map>
#include <sstream>
#include <string>

namespace pool_server {
namespace {

Counters some_counters() {
  Counters counters;
  counters.accepted = 11;
  counters.refused = 12;
  counters.completed = 57;
  counters.errors = 7;
  counters.timeouts = 3;
  counters.cancelled = 4;
  counters.dropped = 5;
  for (int i = 0; i < 99; ++i) {
    counters.wait.record(2);
    counters.run.record(6);
  }
  counters.wait.record(9);
  counters.run.record(15);
  return counters;
}

StatsView view_of(const Counters& counters) {
  return {.counters = counters,
          .uptime = 5'999'999,
          .connections = 21,
          .workers = 8,
          .active_workers = 6,
          .queue_depth = 31,
          .queue_capacity = 1024};
}

TEST_CASE("B4: STATS tells every figure as key=value") {
  const Counters counters = some_counters();
  std::istringstream line(format_stats(view_of(counters)));
  std::string word;
  line >> word;
  CHECK(word == "stats:");
  std::map<std::string, std::string> values;
  while (line >> word) {
    const std::size_t equals = word.find('=');
    REQUIRE(equals != std::string::npos);
    CHECK(values.emplace(word.substr(0, equals), word.substr(equals + 1)).second);
  }
  const std::map<std::string, std::string> expected = {
      {"uptime_seconds", "5"}, {"connections", "21"}, {"accepted", "11"},
      {"refused", "12"},       {"workers", "8"},      {"active_workers", "6"},
      {"queue_depth", "31"},   {"completed", "57"},   {"queue_capacity", "1024"},
      {"errors", "7"},         {"timeouts", "3"},     {"cancelled", "4"},
      {"dropped", "5"},        {"wait_p50_us", "2"},  {"wait_p99_us", "2"},
      {"run_p50_us", "6"},     {"run_p99_us", "6"},
  };
  for (const auto& figure : expected) {
    CAPTURE(figure.first);
    CHECK(values[figure.first] == figure.second);
  }
}

TEST_CASE("stats: one worker with many lines is one at work, and none is when all are counted") {
  CHECK(workers_at_work(/*held=*/64, /*workers=*/8, /*asleep=*/7) == 1);
  CHECK(workers_at_work(64, 8, 0) == 8);
  CHECK(workers_at_work(2, 8, 0) == 2);
  CHECK(workers_at_work(3, 8, 8) == 1);
  CHECK(workers_at_work(0, 8, 0) == 0);
  CHECK(workers_at_work(1, 1, 2) == 1);  // a pool that shrinks
}

TEST_CASE("stats: totals outlast a restart, in whatever release they were written") {
  const Counters before = some_counters();
  const std::vector<std::uint64_t> totals = totals_of(before);
  Counters after;
  restore_totals(totals, after);
  CHECK(totals_of(after) == totals);
  CHECK(after.completed == 57);
  CHECK(after.errors == 7);
  CHECK(after.accepted == 11);
  CHECK(after.run.count() == 100);
  CHECK(after.run.sum() == 99 * 6 + 15);
  CHECK(after.wait.percentile(100) == 9);

  std::vector<std::uint64_t> more = totals;  // of a later release
  more.push_back(99);
  Counters from_later;
  restore_totals(more, from_later);
  CHECK(totals_of(from_later) == totals);
  Counters from_earlier;
  restore_totals({1}, from_earlier);
  CHECK(totals_of(from_earlier).front() == 1);
  CHECK(totals_of(from_earlier).back() == 0);
  // As the first release wrote it: 14 counters, and no histogram.
  Counters from_first;
  restore_totals({totals.begin(), totals.begin() + 14}, from_first);
  CHECK(from_first.dropped == 5);
  CHECK(from_first.task_errors == 0);
  CHECK(from_first.run.count() == 0);
}

TEST_CASE("stats: the status line is one line for a human") {
  const Counters counters = some_counters();
  const std::string status = format_status(view_of(counters));
  CHECK(status.find('\n') == std::string::npos);
  for (const char* part : {"6/8 workers", "queue 31/1024", "57 done", "7 errors", "p99"}) {
    CAPTURE(part);
    CHECK(status.find(part) != std::string::npos);
  }
}

}  // namespace
}  // namespace pool_server
