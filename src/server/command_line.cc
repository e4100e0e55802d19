#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

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

Overload to_overload(const std::string& text) {
  if (text == "wait") return Overload::kWait;
  if (text == "reject") return Overload::kReject;
  throw std::invalid_argument("'" + text + "' is not one of wait, reject");
}

bool to_bool(const std::string& text) {
  if (text == "yes") return true;
  if (text == "no") return false;
  throw std::invalid_argument("'" + text + "' is not one of yes, no");
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

// Adds an option that may be given more than once, each value of which `check` may refuse as above.
template <class Check>
void add_list(CLI::App& app, const std::string& name, const std::string& type,
              const std::string& help, std::vector<std::string>& list, Check check) {
  const auto checked = [&list, check, name](const std::vector<std::string>& values) {
    try {
      for (const std::string& value : values) check(value);
    } catch (const std::invalid_argument& error) {
      throw CLI::ValidationError(name, error.what());
    }
    list = values;
  };
  app.add_option_function<std::vector<std::string>>(name, checked, help)
      ->type_name(type)
      ->allow_extra_args(false);
}

// The one list of options; the texts of --help are the reference that the manual pages follow.
void add_options(CLI::App& app, Options& options) {
  const Options defaults;
  const auto number = [](auto value) { return std::to_string(value); };

  add(app, "PORT", "PORT", number(defaults.port), "TCP port to listen on, on localhost",
      [&options](const std::string& text) { options.port = parse_number(text, 0U, 65535U); });
  add_list(app, "--listen", "ADDRESS",
           "Listen here: PORT, HOST:PORT, [IPv6]:PORT or /PATH of a unix socket (repeatable)",
           options.listen, [](const std::string& address) { (void)parse_listen_address(address); });
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
  add(app, "--overload", "wait|reject", "wait",
      "With a full queue, stop reading or answer 'server busy'",
      [&options](const std::string& text) { options.overload = to_overload(text); });
  add(app, "--queue-timeout", "TIME", format_duration(defaults.queue_timeout),
      "How long a task may wait for a worker; 0: as long as it takes",
      [&options](const std::string& text) { options.queue_timeout = to_duration(text); });
  add(app, "--queue-target", "TIME", format_duration(defaults.queue_target),
      "Shed tasks while the wait stays above this; 0: never",
      [&options](const std::string& text) { options.queue_target = to_duration(text); });
  add(app, "--max-inflight-per-connection", "N", number(defaults.max_inflight_per_connection),
      "Unanswered requests of one client; more are not read", [&options](const std::string& text) {
        options.max_inflight_per_connection = parse_number<std::size_t>(text, 1, 10'000'000);
      });
  add(app, "--max-stuck-workers", "N", "",
      "Workers replaced at a time because their task does not end (as many as --workers)",
      [&options](const std::string& text) {
        options.max_stuck_workers = parse_number(text, 0U, kMaxWorkers);
      });
  add(app, "--handler", "NAME", defaults.handler,
      "The work to do: " + built_in_handlers() + ", a plug-in's name, or its /PATH",
      [&options](const std::string& text) {
        if (!handler_exists(text)) {
          throw std::invalid_argument("there is no handler '" + text + "' (there are " +
                                      built_in_handlers() + ", but no " + handler_path(text) + ")");
        }
        options.handler = text;
      });
  add_list(app, "--handler-option", "SETTING", "KEY=VALUE, a setting for the handler (repeatable)",
           options.handler_options, [](const std::string& setting) {
             const bool has_key = setting.find('=') != std::string::npos && setting[0] != '=';
             if (!has_key || setting.find('\n') != std::string::npos) {
               throw std::invalid_argument("'" + setting + "' is not KEY=VALUE");
             }
           });
  add(app, "--max-reply", "SIZE", format_size(defaults.max_reply),
      "Longest reply of a plug-in; a longer one is refused",
      [&options](const std::string& text) { options.max_reply = to_size(text, 1, kMaxMaxLine); });
  add(app, "--max-line", "SIZE", format_size(defaults.max_line),
      "Longest request, without its line end",
      [&options](const std::string& text) { options.max_line = to_size(text, 1, kMaxMaxLine); });
  add(app, "--max-connections", "N", number(defaults.max_connections),
      "Clients served at once; others are refused", [&options](const std::string& text) {
        options.max_connections = parse_number<std::size_t>(text, 1, 10'000'000);
      });
  add(app, "--max-connections-per-peer", "N", number(defaults.max_connections_per_peer),
      "Clients of one address, or one user of a unix socket; 0: no limit",
      [&options](const std::string& text) {
        options.max_connections_per_peer = parse_number<std::size_t>(text, 0, 10'000'000);
      });
  add(app, "--max-unsent", "SIZE", format_size(defaults.max_unsent),
      "Stop reading from a client to which this much is owed", [&options](const std::string& text) {
        options.max_unsent = to_size(text, 1, std::size_t{1} << 30);
      });
  add(app, "--line-timeout", "TIME", format_duration(defaults.line_timeout),
      "How long a client may take to complete a line; 0: any time",
      [&options](const std::string& text) { options.line_timeout = to_duration(text); });
  add(app, "--send-timeout", "TIME", format_duration(defaults.send_timeout),
      "How long a client may leave its replies unread; 0: for ever",
      [&options](const std::string& text) { options.send_timeout = to_duration(text); });
  add(app, "--idle-timeout", "TIME", format_duration(defaults.idle_timeout),
      "Close connections without traffic for this long; 0: never",
      [&options](const std::string& text) { options.idle_timeout = to_duration(text); });
  add(app, "--drain-timeout", "TIME", format_duration(defaults.drain_timeout),
      "How long a stop waits for accepted work",
      [&options](const std::string& text) { options.drain_timeout = to_duration(text); });
  add(app, "--preserve-connections", "yes|no", "yes",
      "Keep clients connected over a restart, where systemd stores descriptors",
      [&options](const std::string& text) { options.preserve_connections = to_bool(text); });
  add(app, "--log-level", "LEVEL", "info", "debug, info, warning or error",
      [&options](const std::string& text) { options.log_level = to_log_level(text); });
  add(app, "--log-connections", "yes|no", "no",
      "Log who connects: the address, or the user and process at a unix socket",
      [&options](const std::string& text) { options.log_connections = to_bool(text); });
}

// Faults are told one a line, whatever CLI11 puts into them.
std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

// What is wrong with one setting of a configuration file; empty: nothing.
std::string fault_of(const CLI::ConfigItem& item) {
  if (!item.parents.empty()) return "sections are not used here";
  std::vector<std::string> arguments;
  for (const std::string& input : item.inputs) arguments.push_back("--" + item.name + "=" + input);
  Options options;
  CLI::App app;
  app.set_help_flag();
  add_options(app, options);
  try {
    if (app.get_option_no_throw("--" + item.name) == nullptr) {
      return "there is no setting '" + item.name + "'";
    }
    if (arguments.empty()) return item.name + " has no value";
    std::reverse(arguments.begin(), arguments.end());  // the order that CLI11 takes a vector in
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return one_line(error.what());
  }
  return {};
}

// A missing file is told apart from a wrong one: exit status 1 instead of 2.
void fail(CommandLine& result, int exit_status, std::vector<std::string> faults) {
  result.exit_status = exit_status;
  result.faults = std::move(faults);
}

// The fault may be the command line's, or one of the configuration file at `config` (may be empty).
void explain(CommandLine& result, const CLI::ParseError& error, const std::string& config) {
  try {
    std::vector<std::string> faults;
    if (!config.empty()) faults = check_config(config);
    if (faults.empty()) faults = {one_line(error.what()) + " (see pool-server --help)"};
    fail(result, kExitUsage, std::move(faults));
  } catch (const std::runtime_error& unreadable) {
    fail(result, kExitFailure, {unreadable.what()});
  }
}

// The handler with its options, which takes all settings together.
void check_handler(const std::string& path, std::vector<std::string>& faults) {
  try {
    load_handler(parse_command_line({"--config", path}).options)->make();
  } catch (const std::exception& fault) {
    faults.push_back(path + ": " + fault.what());
  }
}

void answer_check(CommandLine& result, const std::string& path) {
  result.is_check = true;
  std::vector<std::string> faults = check_config(path);
  if (faults.empty()) check_handler(path, faults);
  if (faults.empty()) {
    result.exit_status = 0;
    result.answer = path + ": OK\n";
  } else {
    fail(result, kExitFailure, std::move(faults));
  }
}

}  // namespace

std::vector<std::string> check_config(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path + ": " + std::strerror(errno));
  std::vector<std::string> faults;
  std::string line;
  // Line by line, as CLI11 reads its files too but does not tell where it was.
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    const std::string place = path + ":" + std::to_string(number) + ": ";
    const std::size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#' || line[begin] == ';') continue;
    if (line.find('=') == std::string::npos) {
      faults.push_back(place + "expected NAME=VALUE");
      continue;
    }
    std::istringstream text(line);
    for (const CLI::ConfigItem& item : CLI::ConfigINI().from_config(text)) {
      if (const std::string fault = fault_of(item); !fault.empty()) faults.push_back(place + fault);
    }
  }
  if (file.bad()) throw std::runtime_error("cannot read " + path + ": " + std::strerror(errno));
  return faults;
}

CommandLine parse_command_line(const std::vector<std::string>& arguments) {
  CommandLine result;
  CLI::App app("Puts CPU-bound work behind a socket: each request line is answered by one line.",
               "pool-server");
  app.set_version_flag("--version", "pool-server " POOL_SERVER_VERSION);
  add_options(app, result.options);
  app.config_formatter(std::make_shared<CLI::ConfigINI>());
  app.allow_config_extras(CLI::config_extras_mode::error);
  const CLI::Option* config =
      app.set_config("--config", "", "Read options from this file; the command line goes first")
          ->type_name("FILE");
  std::string file_to_check;
  app.add_option("--check-config", file_to_check, "Check this configuration file and exit")
      ->type_name("FILE")
      ->configurable(false);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants it
    app.parse(std::move(reversed));
    if (!file_to_check.empty()) answer_check(result, file_to_check);
  } catch (const CLI::FileError& error) {
    fail(result, kExitFailure, {one_line(error.what())});
  } catch (const CLI::CallForHelp&) {
    result.exit_status = 0;
    result.answer = app.help();
  } catch (const CLI::CallForVersion& version) {
    result.exit_status = 0;
    result.answer = std::string(version.what()) + "\n";
  } catch (const CLI::ParseError& error) {
    explain(result, error, config->count() > 0 ? config->as<std::string>() : std::string());
  } catch (const std::runtime_error& error) {
    fail(result, kExitFailure, {error.what()});
  }
  return result;
}

}  // namespace pool_server
