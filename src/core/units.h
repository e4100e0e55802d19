#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/ids.h"

namespace pool_server {

// "64KiB", "1MiB", "2GiB" (1024s), "64KB" or "64K" (1024s as well), "512B", "512". Nullopt: not a
// size, or too large.
std::optional<std::size_t> parse_size(std::string_view text);

// "500ms", "2s", "1min", "1h", "250us", "1.5s"; a bare number is seconds, as in systemd's units.
// Nullopt: not a time, negative, too long, or too short to be told from 0. In µs.
std::optional<TimeUs> parse_duration(std::string_view text);

// The shortest exact form of the above: "64KiB", "500ms", "0".
std::string format_size(std::size_t bytes);
std::string format_duration(TimeUs duration);

}  // namespace pool_server
