#include "server/config.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <stdexcept>
#include <utility>

#include "core/config_file.h"
#include "sys/text_file.h"

namespace pool_server {

namespace {

constexpr std::size_t kMaxSize = 1 << 20;
// What is no configuration at all may have a fault in each line; at a reload each is logged.
constexpr std::size_t kMostFaults = 20;

// Sets what the lines of one file say, and remembers what was said already.
class ConfigSetter {
 public:
  explicit ConfigSetter(const OptionList& settings) : settings_(settings) {}

  // What is wrong with the line; empty: nothing.
  std::string take(const ConfigLine& line) {
    if (!line.fault.empty()) return line.fault;
    const auto setting = std::ranges::find(settings_, "--" + line.name, &Option::name);
    if (setting == settings_.end()) return no_setting(line.name);
    if (!setting->clear) {
      if (line.is_list) return line.name + " takes one value, not a list";
      const auto [first, is_new] = line_of_.try_emplace(line.name, line.number);
      if (!is_new)
        return line.name + " is set in line " + std::to_string(first->second) + " already";
    }
    for (const std::string& value : line.values) {
      if (value.empty()) return line.name + " has no value";
      try {
        setting->set(value);
      } catch (const std::invalid_argument& fault) {
        return line.name + ": " + fault.what();
      }
    }
    return {};
  }

 private:
  static std::string no_setting(const std::string& name) {
    const bool for_command_line =
        name == "config" || name == "check-config" || name == "help" || name == "version";
    if (for_command_line) return name + " is for the command line only";
    return "there is no setting '" + name + "'" +
           (name == "PORT" ? ": it is listen=PORT here" : "");
  }

  const OptionList& settings_;
  std::map<std::string, std::size_t> line_of_;  // of the settings that may be given once
};

}  // namespace

std::vector<std::string> read_config(const std::string& path, const OptionList& settings) {
  const std::string text = read_text_file(path, kMaxSize);
  std::vector<std::string> faults;
  ConfigSetter setter(settings);
  ConfigReader reader(text);
  while (const auto line = reader.next()) {
    std::string fault = setter.take(*line);
    if (fault.empty()) continue;
    if (faults.size() == kMostFaults) {
      faults.push_back(path + ": there are more faults");
      break;
    }
    const std::string place = path + ":" + std::to_string(line->number) + ": ";
    faults.push_back(std::move(fault.insert(0, place)));
  }
  return faults;
}

}  // namespace pool_server
