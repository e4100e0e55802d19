#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace pool_server::views {

// Numbers as people read them, in UTF-8; a dash for what there is not.

std::string in_groups(std::uint64_t count);             // "1,234,567"
std::string rate_in_words(std::optional<double> rate);  // "0", "1.5", "1,234", without the unit
// "340 µs", "1.2 ms", "38 s", "1 min 5 s", "2 h 1 min", "3 d 4 h"
std::string duration_in_words(std::optional<double> seconds);
// As above, but no finer than seconds: for how long something has been.
std::string age_in_words(double seconds);

}  // namespace pool_server::views
