#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pool_server {

// Takes a command apart into its words, as systemd does with a unit's ExecStart=: words stand
// between blanks; '...' and "..." keep what is in them together, anywhere in a word, and are
// removed; in and out of quotes, \a \b \f \n \r \t \v \\ \" \' \s (a blank), \xHH and \OOO stand
// for a byte each, and a backslash before anything else for itself. No variable, specifier or
// prefix is known, and there is no shell.
//
// Throws std::invalid_argument that says what is wrong: a quote that is not closed, a backslash at
// the end, a byte of 0, no word at all or an empty first one. Pure.
std::vector<std::string> split_command(std::string_view command);

}  // namespace pool_server
