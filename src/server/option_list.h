#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/options.h"

namespace pool_server {

// One of the settings that the command line and the configuration file have in common.
struct Option {
  std::string name;  // "--workers"; without dashes: it has no name and is the command line's
  std::string type;  // for --help, as are the next two
  std::string default_text;  // empty: none is shown
  std::string help;
  // Takes over a value, wherever it was read; one more, if the option may be repeated. Throws
  // std::invalid_argument that says what is wrong with it, and then changes nothing.
  std::function<void(const std::string& value)> set;
  // Forgets the values of an option that may be repeated; null: it may not.
  std::function<void()> clear;
};
using OptionList = std::vector<Option>;

// Every setting there is. `options`, which they write to, must outlive the list.
OptionList option_list(Options& options);

// Once all is set: what follows from one option for others. Returns what cannot be together, or
// empty.
std::string settle(Options& options);

}  // namespace pool_server
