#pragma once

#include <string>
#include <vector>

#include "server/option_list.h"

namespace pool_server {

// Reads the configuration file at `path` and sets what it says by `settings`, whose options have
// their defaults. The one way in which a start, a reload and --check-config read it. Returns its
// faults as "FILE:LINE: what is wrong", the first twenty; if there are any, what was set is not to
// be used. Throws std::runtime_error when it cannot be read.
std::vector<std::string> read_config(const std::string& path, const OptionList& settings);

}  // namespace pool_server
