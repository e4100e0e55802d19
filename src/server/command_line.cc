#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

#include "core/units.h"
#include "handlers/registry.h"
#include "sys/socket_address.h"

namespace pool_server {

namespace {

constexpr unsigned kMaxWorkers = 1024;
constexpr std::size_t kMaxMaxLine = 64 << 20;

template <class Number>
Number parse_number(const std::string& text, Number lowest, Number highest) {
  Number value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || value < lowest || value > highest) {
    throw std::invalid_argument("'" + text + "' is not a number from " + std::to_string(lowest) +
                                " to " + std::to_string(highest));
  }
  return value;
}

void set_workers(Options& options, const std::string& text) {
  const std::size_t dash = text.find('-', 1);
  const unsigned low = parse_number<unsigned>(text.substr(0, dash), 1, kMaxWorkers);
  const unsigned high = dash == std::string::npos
                            ? low
                            : parse_number<unsigned>(text.substr(dash + 1), 1, kMaxWorkers);
  if (high < low) throw std::invalid_argument("'" + text + "': the range is upside down");
  options.min_workers = low;
  options.max_workers = high;
}

TimeUs to_duration(const std::string& text) {
  const auto duration = parse_duration(text);
  if (!duration) throw std::invalid_argument("'" + text + "' is not a time such as 500ms or 2s");
  return *duration;
}

std::size_t to_size(const std::string& text, std::size_t lowest, std::size_t highest) {
  const auto size = parse_size(text);
  if (!size || *size < lowest || *size > highest) {
    throw std::invalid_argument("'" + text + "' is not a size from " + format_size(lowest) +
                                " to " + format_size(highest) + ", such as 64KiB");
  }
  return *size;
}

LogLevel to_log_level(const std::string& text) {
  static const std::map<std::string, LogLevel> kLevels = {{"debug", LogLevel::kDebug},
                                                          {"info", LogLevel::kInfo},
                                                          {"warning", LogLevel::kWarning},
                                                          {"error", LogLevel::kError}};
  const auto level = kLevels.find(text);
  if (level == kLevels.end()) {
    throw std::invalid_argument("'" + text + "' is not one of debug, info, warning, error");
  }
  return level->second;
}

// Adds an option whose value is set by `set`, which throws std::invalid_argument.
template <class Set>
CLI::Option* add(CLI::App& app, const std::string& name, const std::string& type,
                 const std::string& default_text, const std::string& help, Set set) {
  const auto checked = [set, name](const std::string& text) {
    try {
      set(text);
    } catch (const std::invalid_argument& error) {
      throw CLI::ValidationError(name, error.what());
    }
  };
  CLI::Option* option = app.add_option_function<std::string>(name, checked, help);
  option->type_name(type);
  if (!default_text.empty()) option->default_str(default_text);
  return option;
}

// The one list of options; the texts of --help are the reference that the manual pages follow.
void add_options(CLI::App& app, Options& options) {
  const Options defaults;
  const auto number = [](auto value) { return std::to_string(value); };

  add(app, "PORT", "PORT", number(defaults.port), "TCP port to listen on, on localhost",
      [&options](const std::string& text) { options.port = parse_number(text, 0U, 65535U); });
  app.add_option_function<std::vector<std::string>>(
         "--listen",
         [&options](const std::vector<std::string>& addresses) {
           for (const std::string& address : addresses) {
             try {
               (void)parse_listen_address(address);
             } catch (const std::invalid_argument& error) {
               throw CLI::ValidationError("--listen", error.what());
             }
           }
           options.listen = addresses;
         },
         "Listen here: PORT, HOST:PORT, [IPv6]:PORT or /PATH of a unix socket (repeatable)")
      ->type_name("ADDRESS")
      ->allow_extra_args(false);
  add(app, "--workers", "N|MIN-MAX", number(defaults.min_workers),
      "Worker threads; a range grows and shrinks with the load",
      [&options](const std::string& text) { set_workers(options, text); });
  add(app, "--queue-capacity", "N", number(defaults.queue_capacity),
      "Tasks that may wait for a worker", [&options](const std::string& text) {
        options.queue_capacity = parse_number<std::size_t>(text, 1, 10'000'000);
      });
  add(app, "--task-timeout", "TIME", format_duration(defaults.task_timeout),
      "How long a task may run; 0: as long as it takes",
      [&options](const std::string& text) { options.task_timeout = to_duration(text); });
  add(app, "--worker-idle-timeout", "TIME", format_duration(defaults.worker_idle_timeout),
      "End workers above MIN that were not needed for this long",
      [&options](const std::string& text) { options.worker_idle_timeout = to_duration(text); });
  add(app, "--handler", "NAME", defaults.handler, "The work to do: " + handler_names(),
      [&options](const std::string& text) {
        if (!find_handler(text)) {
          throw std::invalid_argument("there is no handler '" + text +
                                      "' (there are: " + handler_names() + ")");
        }
        options.handler = text;
      });
  add(app, "--max-line", "SIZE", format_size(defaults.max_line),
      "Longest request, without its line end",
      [&options](const std::string& text) { options.max_line = to_size(text, 1, kMaxMaxLine); });
  add(app, "--max-connections", "N", number(defaults.max_connections),
      "Clients served at once; others are refused", [&options](const std::string& text) {
        options.max_connections = parse_number<std::size_t>(text, 1, 10'000'000);
      });
  add(app, "--idle-timeout", "TIME", format_duration(defaults.idle_timeout),
      "Close connections without traffic for this long; 0: never",
      [&options](const std::string& text) { options.idle_timeout = to_duration(text); });
  add(app, "--drain-timeout", "TIME", format_duration(defaults.drain_timeout),
      "How long a stop waits for accepted work",
      [&options](const std::string& text) { options.drain_timeout = to_duration(text); });
  add(app, "--log-level", "LEVEL", "info", "debug, info, warning or error",
      [&options](const std::string& text) { options.log_level = to_log_level(text); });
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
  CommandLine result;
  CLI::App app("Puts CPU-bound work behind a socket: each request line is answered by one line.",
               "pool-server");
  app.set_version_flag("--version", "pool-server " POOL_SERVER_VERSION);
  add_options(app, result.options);
  app.set_config("--config", "", "Read options from this file; the command line has precedence")
      ->type_name("FILE");
  app.allow_config_extras(CLI::config_extras_mode::error);
  try {
    app.parse(argc, argv);
  } catch (const CLI::FileError& error) {
    std::cerr << "pool-server: " << one_line(error.what()) << '\n';
    result.exit_status = kExitFailure;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help or --version
      result.exit_status = app.exit(error);
    } else {
      std::cerr << "pool-server: " << one_line(error.what()) << " (see pool-server --help)\n";
      result.exit_status = kExitUsage;
    }
  }
  return result;
}

}  // namespace pool_server
