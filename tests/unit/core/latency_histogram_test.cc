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

TEST_CASE("histogram: what is below a power of two is counted to the last") {
  LatencyHistogram histogram;
  for (const std::int64_t duration : {0, 1, 15, 16, 17, 1023, 1024, 1025, 5'000'000}) {
    histogram.record(duration);
  }
  CHECK(histogram.count_below_power(0) == 1);
  CHECK(histogram.count_below_power(4) == 3);
  CHECK(histogram.count_below_power(5) == 5);
  CHECK(histogram.count_below_power(10) == 6);
  CHECK(histogram.count_below_power(11) == 8);
  CHECK(histogram.count_below_power(36) == 9);
  CHECK(histogram.sum() == 0 + 1 + 15 + 16 + 17 + 1023 + 1024 + 1025 + 5'000'000);
}

TEST_CASE("histogram: what came since an earlier copy") {
  LatencyHistogram histogram;
  histogram.record(7);
  const LatencyHistogram before = histogram;
  histogram.record(7);
  histogram.record(100);
  const LatencyHistogram since = histogram.since(before);
  CHECK(since.count() == 2);
  CHECK(since.sum() == 107);
  CHECK(since.percentile(50) == 7);
  CHECK(before.since(before).percentile(99) == 0);
}

TEST_CASE("histogram: comes back from its numbers, be they fewer or more than there should be") {
  LatencyHistogram histogram;
  for (const std::int64_t duration : {3, 50, 700, 1 << 30}) histogram.record(duration);
  std::vector<std::uint64_t> numbers;
  histogram.append_to(numbers);
  CHECK(numbers.size() == LatencyHistogram::numbers());
  LatencyHistogram restored;
  restored.record(1);
  restored.restore(numbers);
  CHECK(restored.count() == 4);
  CHECK(restored.sum() == histogram.sum());
  CHECK(restored.percentile(100) == histogram.percentile(100));
  numbers.push_back(9);
  restored.restore(numbers);
  CHECK(restored.count() == 4);
  restored.restore({});
  CHECK(restored.count() == 0);
  restored.restore(std::span(numbers).first(5));  // up to the bucket of 3
  CHECK(restored.count() == 1);
}

}  // namespace
}  // namespace pool_server
