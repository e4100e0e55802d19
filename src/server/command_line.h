#pragma once

#include <optional>

#include "core/options.h"

namespace pool_server {

inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

struct CommandLine {
  Options options;
  // Set when there is nothing to run: --help or --version were answered, or a fault was told on
  // standard error.
  std::optional<int> exit_status;
};

CommandLine parse_command_line(int argc, char** argv);

}  // namespace pool_server
