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
  std::string answer;  // for standard output
  // For standard error, a line each. None, though the exit status is not 0: there was no memory to
  // say that there is none.
  std::vector<std::string> faults;
};

// May be called again to read the configuration file anew. Prints nothing, and never throws: for
// want of memory, too, it is an exit status.
CommandLine parse_command_line(const std::vector<std::string>& arguments) noexcept;

}  // namespace pool_server
