#include "core/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace pool_server {

namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array kSizeUnits = {
    Unit{"GiB", 1 << 30}, Unit{"MiB", 1 << 20}, Unit{"KiB", 1 << 10}, Unit{"GB", 1 << 30},
    Unit{"MB", 1 << 20},  Unit{"KB", 1 << 10},  Unit{"G", 1 << 30},   Unit{"M", 1 << 20},
    Unit{"K", 1 << 10},   Unit{"B", 1},         Unit{"", 1},
};

constexpr std::array kTimeUnits = {
    Unit{"h", 3'600'000'000}, Unit{"min", 60'000'000}, Unit{"s", 1'000'000},
    Unit{"ms", 1'000},        Unit{"us", 1},           Unit{"", 1'000'000},
};

// Far above any sane setting, and far enough below the end of the type that sums stay in it.
constexpr double kMaxValue = 1e15;

template <class Units>
std::optional<std::int64_t> parse(std::string_view text, const Units& units) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc() || text.starts_with('-') || !std::isfinite(number)) return std::nullopt;
  std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  if (suffix.starts_with(' ')) suffix.remove_prefix(1);
  for (const Unit& unit : units) {
    if (suffix != unit.name) continue;
    const double value = number * static_cast<double>(unit.factor);
    if (value > kMaxValue) return std::nullopt;
    const long long rounded = std::llround(value);
    // So little is not nothing: 0 is "no limit" to many a setting.
    if (rounded == 0 && number > 0) return std::nullopt;
    return rounded;
  }
  return std::nullopt;
}

template <class Units>
std::string format(std::int64_t value, const Units& units) {
  if (value == 0) return "0";
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) return std::to_string(value / unit.factor).append(unit.name);
  }
  return std::to_string(value);
}

}  // namespace

std::optional<std::size_t> parse_size(std::string_view text) {
  const auto value = parse(text, kSizeUnits);
  if (!value) return std::nullopt;
  return static_cast<std::size_t>(*value);
}

std::optional<TimeUs> parse_duration(std::string_view text) {
  return parse(text, kTimeUnits);
}

std::string format_size(std::size_t bytes) {
  return format(static_cast<std::int64_t>(bytes), kSizeUnits);
}

std::string format_duration(TimeUs duration) {
  return format(duration, kTimeUnits);
}

}  // namespace pool_server
