#include "views/words.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace pool_server::views {

namespace {

constexpr const char* kNone = "–";

std::string with_decimals(double value, int decimals) {
  char text[64];
  (void)std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

// Beyond it doubles have no room for single ones, and conversions none for the value.
double counted(double value) {
  return std::clamp(value, 0.0, 9.0e15);
}

}  // namespace

std::string in_groups(std::uint64_t count) {
  const std::string digits = std::to_string(count);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string rate_in_words(std::optional<double> rate) {
  if (!rate || !std::isfinite(*rate)) return kNone;
  if (*rate > 0 && *rate < 9.95) return with_decimals(*rate, 1);
  return in_groups(static_cast<std::uint64_t>(std::llround(counted(*rate))));
}

std::string duration_in_words(std::optional<double> seconds) {
  if (!seconds || !std::isfinite(*seconds)) return kNone;
  const double value = counted(*seconds);
  if (value < 0.0009995) return with_decimals(value * 1e6, 0) + " µs";
  if (value < 0.9995) return with_decimals(value * 1e3, value < 0.00995 ? 1 : 0) + " ms";
  if (value < 59.5) return with_decimals(value, value < 9.95 ? 1 : 0) + " s";
  return age_in_words(value);
}

std::string age_in_words(double seconds) {
  struct Unit {
    std::uint64_t size;
    const char* name;
    std::uint64_t part_size;
    const char* part;
  };
  constexpr Unit kUnits[] = {
      {86'400, " d", 3'600, " h"}, {3'600, " h", 60, " min"}, {60, " min", 1, " s"}};
  if (!std::isfinite(seconds)) return kNone;
  const auto whole = static_cast<std::uint64_t>(counted(seconds));
  for (const Unit& unit : kUnits) {
    if (whole < unit.size) continue;
    return std::to_string(whole / unit.size) + unit.name + " " +
           std::to_string(whole % unit.size / unit.part_size) + unit.part;
  }
  return std::to_string(whole) + " s";
}

}  // namespace pool_server::views
