// Any bytes as a configuration file: what is understood is sound, each line stands for itself, and
// what was understood means the same when it is written anew.

#include "core/config_file.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "must.h"

namespace {

using namespace pool_server;

std::vector<ConfigLine> lines_of(std::string_view text) {
  ConfigReader reader(text);
  std::vector<ConfigLine> lines;
  while (auto line = reader.next()) lines.push_back(std::move(*line));
  return lines;
}

bool has_control(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f; });
}

bool same(const ConfigLine& left, const ConfigLine& right) {
  return left.name == right.name && left.values == right.values && left.fault == right.fault &&
         left.is_list == right.is_list;
}

// The line as the manual has it: `blank` round everything, values in quotes where they may be.
std::string written(const ConfigLine& line, std::string_view blank) {
  std::string values;
  for (const std::string& value : line.values) {
    if (!values.empty()) values.append(blank).append(",").append(blank);
    const bool quoted = value.find('"') == std::string::npos;
    values.append(quoted ? "\"" : "").append(value).append(quoted ? "\"" : "");
  }
  if (line.is_list) values = "[" + std::string(blank) + values + std::string(blank) + "]";
  return std::string(blank).append(line.name).append(blank).append("=").append(values);
}

void must_be_sound(const ConfigLine& line) {
  must(line.fault.empty() != line.name.empty());
  must(line.name.empty() == line.values.empty());
  must(line.is_list || line.values.size() <= 1);
  must(!has_control(line.fault) && !has_control(line.name) &&
       line.name.find('\t') == std::string::npos);
  for (const std::string& value : line.values) must(!has_control(value));
  if (line.name.empty()) return;
  for (const std::string_view blank : {"", " ", "\t "}) {
    for (const std::string_view end : {"", "\n", "\r\n"}) {
      const auto again = lines_of(written(line, blank).append(end));
      must(again.size() == 1 && same(again[0], line));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<ConfigLine> together = lines_of(text);
  std::size_t found = 0;
  std::size_t number = 1;
  for (std::size_t begin = 0; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    // A byte order mark counts at the beginning only: an empty line before it tells that.
    const std::string before = begin == 0 ? "" : "\n";
    const auto alone = lines_of(before + std::string(text.substr(begin, end - begin)));
    must(alone.size() <= 1);
    if (!alone.empty()) {
      must(found < together.size() && together[found].number == number);
      must(same(together[found], alone[0]));
      must_be_sound(alone[0]);
      ++found;
    }
    begin = end + 1;
  }
  must(found == together.size());
  return 0;
}
