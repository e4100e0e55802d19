#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pool_server {

// A line of a configuration file that says something.
struct ConfigLine {
  std::size_t number = 0;  // from 1
  // What is wrong with it; empty: nothing. With a fault there is neither name nor value.
  std::string fault;
  std::string name;
  std::vector<std::string> values;  // one, or those of a list, which stand in brackets
  bool is_list = false;
};

// Takes the text of a configuration file apart; which names there are and what their values mean is
// not known here. The grammar is that of pool-server.conf(5):
//
//   Each line stands for itself and says NAME=VALUE, a comment (from # or ; at its beginning), or
//   nothing. Lines end in LF or CRLF. Blanks (space, tab) around name and value do not count.
//   NAME is a letter, then letters, digits and dashes. VALUE is all the rest of the line, whatever
//   characters it has; in double quotes, what stands between them, which has no double quote. There
//   are no escapes. In brackets it is a list of values, plain or quoted, with commas between.
//   Control characters are nowhere allowed, nor is a single quote as the first character of a
//   value: it would be taken for what it is not.
//
// A byte order mark at the beginning is passed over. Pure; keeps no line, so that a file of nothing
// but faults costs no more memory than one of them. `text` must outlive it.
class ConfigReader {
 public:
  explicit ConfigReader(std::string_view text);

  // The next line that says something; nullopt at the end.
  std::optional<ConfigLine> next();

 private:
  std::string_view rest_;
  std::size_t number_ = 0;
};

}  // namespace pool_server
