#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pool_server {

// One thing that is measured, and what it is just now. A value; how it is written down, the two
// functions below know.
struct Metric {
  enum class Type : unsigned char { kCounter, kGauge, kInfo, kHistogram };

  struct Label {
    std::string_view name;
    std::string value;
  };
  struct Sample {
    std::vector<Label> labels;
    double value = 0;
  };
  struct Bucket {
    double limit = 0;         // of what is counted in it, inclusive
    std::uint64_t count = 0;  // of all up to the limit, what smaller buckets count included
  };

  std::string_view name;  // without the endings that a type asks for: "_total", "_info", "_bucket"
  std::string_view help;
  Type type = Type::kGauge;
  std::vector<Sample> samples = {};  // of all types but kHistogram

  std::vector<Bucket> buckets = {};  // of kHistogram, the smallest first, as are the next two
  double sum = 0;
  std::uint64_t count = 0;
};

enum class MetricsFormat : unsigned char {
  kPrometheus,   // the text format 0.0.4
  kOpenMetrics,  // 1.0
};

std::string render_metrics(const std::vector<Metric>& metrics, MetricsFormat format);
std::string_view content_type(MetricsFormat format);

// Which of the two the Accept header of a request prefers; without one, or where it knows neither,
// the older.
MetricsFormat preferred_format(std::string_view accept);

}  // namespace pool_server
