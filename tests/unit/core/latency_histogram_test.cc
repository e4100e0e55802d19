#include "core/latency_histogram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace pool_server {
namespace {

// Never below the true value, and above it by a sixteenth at most.
void check_bound(TimeUs told, TimeUs truth) {
  CAPTURE(truth);
  CAPTURE(told);
  CHECK(told >= truth);
  CHECK(told <= truth + truth / 16);
}

TEST_CASE("latency histogram: empty") {
  const LatencyHistogram histogram;
  CHECK(histogram.count() == 0);
  CHECK(histogram.percentile(0) == 0);
  CHECK(histogram.percentile(99) == 0);
}

TEST_CASE("latency histogram: one duration, of any magnitude") {
  for (int bit = 0; bit < 36; ++bit) {
    for (const TimeUs offset : {-1, 0, 1, 7}) {
      const TimeUs duration = (TimeUs{1} << bit) + offset;
      if (duration >= TimeUs{1} << 36) continue;
      LatencyHistogram histogram;
      histogram.record(duration);
      check_bound(histogram.percentile(0), duration);
      check_bound(histogram.percentile(50), duration);
      check_bound(histogram.percentile(100), duration);
    }
  }
}

TEST_CASE("latency histogram: durations out of range count as the nearest in range") {
  LatencyHistogram histogram;
  histogram.record(-5);
  CHECK(histogram.percentile(100) == 0);
  histogram.record(kNever);
  CHECK(histogram.percentile(100) == (TimeUs{1} << 36) - 1);
  CHECK(histogram.count() == 2);
}

TEST_CASE("latency histogram: percentiles of many durations") {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> exponent(0, 35);
  LatencyHistogram histogram;
  std::vector<TimeUs> durations(10'000);
  for (TimeUs& duration : durations) {
    duration = static_cast<TimeUs>(std::exp2(exponent(random)));
    histogram.record(duration);
  }
  std::sort(durations.begin(), durations.end());
  for (const int percent : {1, 10, 25, 50, 75, 90, 95, 99, 100}) {
    CAPTURE(percent);
    const std::size_t rank = durations.size() * static_cast<std::size_t>(percent) / 100;
    check_bound(histogram.percentile(percent), durations[rank - 1]);
  }
}

TEST_CASE("latency histogram: the 99th of a hundred is not the slowest") {
  LatencyHistogram histogram;
  for (int i = 0; i < 99; ++i) histogram.record(3);
  histogram.record(1'000'000);
  CHECK(histogram.percentile(50) == 3);
  CHECK(histogram.percentile(99) == 3);
  check_bound(histogram.percentile(99.5), 1'000'000);
}

}  // namespace
}  // namespace pool_server
