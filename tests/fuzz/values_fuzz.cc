// Any text as what stands on a command line, in a configuration or in a header: a size, a time, a
// command, an address, a network, what a visitor accepts. What is understood means the same when it
// is written anew.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/command_words.h"
#include "core/ip_address.h"
#include "core/metrics.h"
#include "core/units.h"
#include "must.h"

namespace {

using namespace pool_server;

void sizes_and_times(std::string_view text) {
  if (const auto size = parse_size(text)) must(parse_size(format_size(*size)) == size);
  if (const auto time = parse_duration(text)) {
    must(*time >= 0);
    must(parse_duration(format_duration(*time)) == time);
  }
}

std::string quoted(const std::string& word) {
  std::string made = "\"";
  for (const char byte : word) made.append(byte == '"' || byte == '\\' ? "\\" : "") += byte;
  return made + '"';
}

void commands(std::string_view text) {
  std::vector<std::string> words;
  try {
    words = split_command(text);
  } catch (const std::invalid_argument& fault) {
    must(*fault.what() != '\0');
    return;
  }
  must(!words.empty() && !words.front().empty());
  std::string again;
  for (const std::string& word : words) {
    must(word.find('\0') == std::string::npos);
    again += " " + quoted(word);
  }
  must(split_command(again) == words);
}

void addresses(std::string_view text) {
  if (const auto address = parse_ip_address(text)) {
    must(ip_address(bytes_of(*address)).has_value());
    const std::string written = to_string(*address, 1);
    const bool is_v6 = written.front() == '[';
    const auto again =
        parse_ip_address(is_v6 ? std::string_view(written).substr(1, written.size() - 4)
                               : std::string_view(written).substr(0, written.size() - 2));
    must(again && bytes_of(*again) == bytes_of(*address));
  }
  if (const auto network = parse_ip_network(text)) must(network->contains(network->address));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  sizes_and_times(text);
  commands(text);
  addresses(text);
  (void)preferred_format(text);
  return 0;
}
