#include <exception>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"
#include "sys/signal_fd.h"
#include "sys/unique_fd.h"
#include "views/check.h"
#include "views/monitor_address.h"
#include "views/plain_text.h"
#include "views/top.h"

namespace pool_server::views {
namespace {

constexpr const char* kHelp = R"(Usage: pool-server top [ADDRESS]
       pool-server check [--timeout TIME] [ADDRESS]

top    shows what a server does, once a second; as text, and once, where there is no terminal
check  asks whether it would take work, and says so in a line: exit status 0 yes, 1 no,
       2 it does not answer within TIME (5s), 3 the question was wrong

ADDRESS is where the server has its --monitor: HOST:PORT, [IPv6]:PORT or the path of a socket
(/run/pool-server/monitor.sock). See pool-server-top(1).
)";

struct CommandLine {
  std::string verb;
  std::string address = MonitorAddress::kDefault;
  HttpClient::Time timeout{5000};
  bool help = false;
};

HttpClient::Time parse_timeout(const std::string& text) {
  const std::optional<TimeUs> duration = parse_duration(text);
  constexpr TimeUs kLongest = 3'600'000'000;
  if (!duration || *duration <= 0 || *duration > kLongest) {
    throw std::invalid_argument("\"" + plain_text(text) + "\" is no time to wait, such as 5s");
  }
  return std::chrono::ceil<HttpClient::Time>(std::chrono::microseconds(*duration));
}

CommandLine parse(const std::vector<std::string>& words) {
  CommandLine parsed;
  std::vector<std::string> addresses;
  bool options = true;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (options && word == "--") {
      options = false;
    } else if (options && (word == "--help" || word == "-h")) {
      parsed.help = true;
    } else if (options && parsed.verb == "check" && word == "--timeout" && i + 1 < words.size()) {
      parsed.timeout = parse_timeout(words[++i]);
    } else if (options && parsed.verb == "check" && word.starts_with("--timeout=")) {
      parsed.timeout = parse_timeout(word.substr(word.find('=') + 1));
    } else if (options && word.starts_with("-")) {
      throw std::invalid_argument("\"" + plain_text(word) +
                                  "\" is no option of it, or lacks its value");
    } else if (parsed.verb.empty()) {
      parsed.verb = word;
    } else {
      addresses.push_back(word);
    }
  }
  if (parsed.help) return parsed;
  if (parsed.verb != "top" && parsed.verb != "check") throw std::invalid_argument("top or check?");
  if (addresses.size() > 1) throw std::invalid_argument("there is more than one address");
  if (!addresses.empty()) parsed.address = addresses.front();
  return parsed;
}

int run(const std::vector<std::string>& words) {
  const CommandLine command_line = parse(words);
  if (command_line.help) {
    std::cout << kHelp << std::flush;
    return std::cout ? 0 : kExitUsage;
  }
  const MonitorAddress address = parse_monitor_address(command_line.address);
  return command_line.verb == "top" ? top(address) : check(address, command_line.timeout);
}

}  // namespace
}  // namespace pool_server::views

int main(int argc, char** argv) {
  using namespace pool_server;
  try {
    fill_standard_descriptors();
    ignore_write_signals();
    return views::run({argv + (argc > 0 ? 1 : 0), argv + argc});
  } catch (const std::invalid_argument& error) {
    std::cerr << "pool-server: " << error.what() << " (pool-server top --help)\n";
  } catch (const std::exception& error) {
    std::cerr << "pool-server: " << error.what() << '\n';
  }
  return views::kExitUsage;
}
