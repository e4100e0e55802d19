#include "core/metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>

namespace pool_server {

namespace {

void append_number(double value, MetricsFormat format, std::string& out) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  const std::string_view text(digits.data(), static_cast<std::size_t>(end - digits.data()));
  out.append(text);
  // In OpenMetrics a limit of a bucket is written as a float.
  const bool integer = text.find_first_not_of("-0123456789") == std::string_view::npos;
  if (format == MetricsFormat::kOpenMetrics && integer) out.append(".0");
}

// Of what may be neither in a HELP line nor between quotes.
void append_escaped(std::string_view text, bool quoted, std::string& out) {
  for (const char c : text) {
    if (c == '\n') {
      out.append("\\n");
    } else if (c == '\\' || (c == '"' && quoted)) {
      out.push_back('\\');
      out.push_back(c);
    } else {
      out.push_back(c);
    }
  }
}

// "{name="value"}"
void append_labels(const std::vector<Metric::Label>& labels, std::string& out) {
  if (labels.empty()) return;
  char before = '{';
  for (const Metric::Label& label : labels) {
    out.push_back(before);
    out.append(label.name).append("=\"");
    append_escaped(label.value, /*quoted=*/true, out);
    out.push_back('"');
    before = ',';
  }
  out.push_back('}');
}

std::string_view ending(Metric::Type type) {
  switch (type) {
    case Metric::Type::kCounter:
      return "_total";
    case Metric::Type::kInfo:
      return "_info";
    case Metric::Type::kGauge:
    case Metric::Type::kHistogram:
      break;
  }
  return "";
}

std::string_view type_name(Metric::Type type, MetricsFormat format) {
  switch (type) {
    case Metric::Type::kCounter:
      return "counter";
    case Metric::Type::kInfo:
      return format == MetricsFormat::kOpenMetrics ? "info" : "gauge";
    case Metric::Type::kHistogram:
      return "histogram";
    case Metric::Type::kGauge:
      break;
  }
  return "gauge";
}

// What the metric is called where its type and help are told: OpenMetrics leaves the ending out.
void append_family(const Metric& metric, MetricsFormat format, std::string& out) {
  out.append(metric.name);
  if (format == MetricsFormat::kPrometheus) out.append(ending(metric.type));
}

// A counter may be past what to_chars writes without an exponent, which both formats allow.
void append_value(double value, std::string& out) {
  append_number(value, MetricsFormat::kPrometheus, out);
}

void append_histogram(const Metric& metric, MetricsFormat format, std::string& out) {
  const auto line = [&](std::string_view what, double value) {
    out.append(metric.name).append(what).push_back(' ');
    append_value(value, out);
    out.push_back('\n');
  };
  for (const Metric::Bucket& bucket : metric.buckets) {
    out.append(metric.name).append("_bucket{le=\"");
    append_number(bucket.limit, format, out);
    out.append("\"} ");
    append_value(static_cast<double>(bucket.count), out);
    out.push_back('\n');
  }
  line("_bucket{le=\"+Inf\"}", static_cast<double>(metric.count));
  line("_sum", metric.sum);
  line("_count", static_cast<double>(metric.count));
}

// How much an Accept header's element wants what it names, 0 to 1000.
int quality(std::string_view element) {
  const std::size_t q = element.find("q=");
  if (q == std::string_view::npos) return 1000;
  double value = 0;
  const std::string_view digits = element.substr(q + 2);
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc()) {
    return 0;
  }
  return value > 0 && value <= 1 ? static_cast<int>(value * 1000) : 0;
}

}  // namespace

std::string render_metrics(const std::vector<Metric>& metrics, MetricsFormat format) {
  std::string out;
  for (const Metric& metric : metrics) {
    out.append("# HELP ");
    append_family(metric, format, out);
    out.push_back(' ');
    append_escaped(metric.help, /*quoted=*/format == MetricsFormat::kOpenMetrics, out);
    out.append("\n# TYPE ");
    append_family(metric, format, out);
    out.push_back(' ');
    out.append(type_name(metric.type, format)).push_back('\n');
    if (metric.type == Metric::Type::kHistogram) append_histogram(metric, format, out);
    for (const Metric::Sample& sample : metric.samples) {
      out.append(metric.name).append(ending(metric.type));
      append_labels(sample.labels, out);
      out.push_back(' ');
      append_value(sample.value, out);
      out.push_back('\n');
    }
  }
  if (format == MetricsFormat::kOpenMetrics) out.append("# EOF\n");
  return out;
}

std::string_view content_type(MetricsFormat format) {
  return format == MetricsFormat::kOpenMetrics
             ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
             : "text/plain; version=0.0.4; charset=utf-8";
}

MetricsFormat preferred_format(std::string_view accept) {
  int open_metrics = 0;
  int plain = 0;
  while (!accept.empty()) {
    const std::size_t comma = accept.find(',');
    const std::string_view element = accept.substr(0, comma);
    accept.remove_prefix(comma == std::string_view::npos ? accept.size() : comma + 1);
    if (element.find("application/openmetrics-text") != std::string_view::npos) {
      open_metrics = std::max(open_metrics, quality(element));
    } else {
      plain = std::max(plain, quality(element));
    }
  }
  return open_metrics > 0 && open_metrics >= plain ? MetricsFormat::kOpenMetrics
                                                   : MetricsFormat::kPrometheus;
}

}  // namespace pool_server
