#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/options.h"

namespace pool_server {

inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

// What the command line, and the configuration file it names, ask for.
struct CommandLine {
  Options options;
  // Set when there is nothing to run: a question was answered (--help, --version, --check-config),
  // or something is wrong.
  std::optional<int> exit_status;
  bool is_check = false;            // the question was --check-config
  std::string answer;               // for standard output
  std::vector<std::string> faults;  // for standard error, a line each
};

// May be called again to read the configuration file anew. Does not throw and prints nothing.
CommandLine parse_command_line(const std::vector<std::string>& arguments);

// Every fault of a configuration file as "FILE:LINE: what is wrong"; empty when it is in order.
// Throws std::runtime_error when it cannot be read.
std::vector<std::string> check_config(const std::string& path);

}  // namespace pool_server
