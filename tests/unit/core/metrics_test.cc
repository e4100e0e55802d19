#include "core/metrics.h"

#include <doctest/doctest.h>

#include <string>

namespace pool_server {
namespace {

using Type = Metric::Type;

std::string older(const Metric& metric) {
  return render_metrics({metric}, MetricsFormat::kPrometheus);
}

std::string newer(const Metric& metric) {
  return render_metrics({metric}, MetricsFormat::kOpenMetrics);
}

TEST_CASE("metrics: a counter has its ending where each format wants it") {
  const Metric metric{
      .name = "jobs", .help = "Jobs.", .type = Type::kCounter, .samples = {{{}, 3}}};
  CHECK(older(metric) == "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total 3\n");
  CHECK(newer(metric) == "# HELP jobs Jobs.\n# TYPE jobs counter\njobs_total 3\n# EOF\n");
}

TEST_CASE("metrics: labels are quoted, in whatever they hold") {
  const Metric metric{.name = "m",
                      .help = "A \\ and\na \".",
                      .samples = {{{{"a", "x\"y\\z\nw"}, {"b", ""}}, 0.5}, {{{"a", "2"}}, -1}}};
  CHECK(older(metric) ==
        "# HELP m A \\\\ and\\na \".\n# TYPE m gauge\n"
        "m{a=\"x\\\"y\\\\z\\nw\",b=\"\"} 0.5\nm{a=\"2\"} -1\n");
  CHECK(newer(metric).starts_with("# HELP m A \\\\ and\\na \\\".\n"));
}

TEST_CASE("metrics: information is a gauge to the older format") {
  const Metric metric{
      .name = "build", .help = "B.", .type = Type::kInfo, .samples = {{{{"version", "1"}}, 1}}};
  CHECK(older(metric) ==
        "# HELP build_info B.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n");
  CHECK(newer(metric) ==
        "# HELP build B.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n# EOF\n");
}

TEST_CASE("metrics: a histogram ends with all there is, its sum and its count") {
  const Metric metric{.name = "run_seconds",
                      .help = "R.",
                      .type = Type::kHistogram,
                      .samples = {},
                      .buckets = {{0.25, 1}, {2, 3}},
                      .sum = 4.5,
                      .count = 4};
  const std::string rest =
      "run_seconds_bucket{le=\"+Inf\"} 4\nrun_seconds_sum 4.5\nrun_seconds_count 4\n";
  CHECK(older(metric) ==
        "# HELP run_seconds R.\n# TYPE run_seconds histogram\n"
        "run_seconds_bucket{le=\"0.25\"} 1\nrun_seconds_bucket{le=\"2\"} 3\n" +
            rest);
  CHECK(newer(metric) ==
        "# HELP run_seconds R.\n# TYPE run_seconds histogram\n"
        "run_seconds_bucket{le=\"0.25\"} 1\nrun_seconds_bucket{le=\"2.0\"} 3\n" +
            rest + "# EOF\n");
}

TEST_CASE("metrics: the format is the one that the request prefers") {
  const auto newer_is_preferred = [](const char* accept) {
    return preferred_format(accept) == MetricsFormat::kOpenMetrics;
  };
  CHECK(newer_is_preferred("application/openmetrics-text; version=1.0.0"));
  CHECK(newer_is_preferred("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"));
  CHECK(newer_is_preferred("text/plain;q=0.5,application/openmetrics-text;q=0.75"));
  CHECK_FALSE(newer_is_preferred(""));
  CHECK_FALSE(newer_is_preferred("*/*"));
  CHECK_FALSE(newer_is_preferred("text/html,*/*;q=0.8"));
  CHECK_FALSE(newer_is_preferred("application/openmetrics-text;q=0.4,text/plain"));
  CHECK_FALSE(newer_is_preferred("application/openmetrics-text;q=0"));
  CHECK_FALSE(newer_is_preferred("application/openmetrics-text;q=x"));
}

}  // namespace
}  // namespace pool_server
