#include "server/option_list.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <utility>

#include "core/command_words.h"
#include "core/units.h"
#include "handlers/registry.h"
#include "sys/socket_address.h"

namespace pool_server {

namespace {

constexpr unsigned kMaxWorkers = 1024;
constexpr std::size_t kMaxMaxLine = 64 << 20;
// Bytes: what a process can be told of at its start, with room to spare.
constexpr std::size_t kMostCommand = 32 * 1024;
constexpr std::size_t kMostHandlerOptions = 32 * 1024;
constexpr TimeUs kMostKillGrace = 60'000'000;

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
void add(OptionList& list, const std::string& name, const std::string& type,
         const std::string& default_text, const std::string& help, Set set) {
  list.push_back({name, type, default_text, help, std::move(set), nullptr});
}

ProgramProtocol to_protocol(const std::string& text) {
  if (text == "lines") return ProgramProtocol::kLines;
  if (text == "frames") return ProgramProtocol::kFrames;
  throw std::invalid_argument("'" + text + "' is neither lines nor frames");
}

// Adds an option that may be given more than once, each value of which `check` may refuse as above.
template <class Check>
void add_list(OptionList& list, const std::string& name, const std::string& type,
              const std::string& help, std::vector<std::string>& values, Check check) {
  const auto checked = [&values, check](const std::string& value) {
    check(value);
    values.push_back(value);
  };
  list.push_back({name, type, "", help, checked, [&values] { values.clear(); }});
}

// Those of work in processes of their own.
void add_processes(OptionList& list, Options& options) {
  const Options defaults;
  add(list, "--program", "COMMAND", "",
      "A program to do the work instead: it reads requests and writes replies, a line each",
      [&options](const std::string& text) {
        if (text.size() > kMostCommand) throw std::invalid_argument("the command is too long");
        (void)split_command(text);
        options.program = text;
      });
  add(list, "--program-protocol", "lines|frames", "lines",
      "How a program reads requests and writes replies: see pool-server-program(7)",
      [&options](const std::string& text) { options.program_protocol = to_protocol(text); });
  add(list, "--isolate", "yes|no", "",
      "Run the handler in processes of their own (a plug-in: yes; what is built in: no)",
      [&options](const std::string& text) {
        options.isolate = to_bool(text);
        options.isolate_given = true;
      });
  add(list, "--kill-grace", "TIME", format_duration(defaults.kill_grace),
      "How long such a process may take to end when it is told to; 0: it is killed at once",
      [&options](const std::string& text) {
        options.kill_grace = to_duration(text);
        if (options.kill_grace > kMostKillGrace) throw std::invalid_argument("it is above 1min");
      });
  add(list, "--worker-max-tasks", "N", std::to_string(defaults.worker_max_tasks),
      "Replace such a process after so many requests; 0: never",
      [&options](const std::string& text) {
        options.worker_max_tasks = parse_number<std::size_t>(text, 0, SIZE_MAX);
      });
  add(list, "--worker-max-memory", "SIZE", format_size(defaults.worker_max_memory),
      "Replace such a process between requests when it has become larger; 0: never",
      [&options](const std::string& text) {
        options.worker_max_memory = to_size(text, 0, std::size_t{1} << 50);
      });
  add(list, "--worker-memory-limit", "SIZE", format_size(defaults.worker_memory_limit),
      "Address space that such a process may have (RLIMIT_AS); 0: no limit",
      [&options](const std::string& text) {
        options.worker_memory_limit = to_size(text, 0, std::size_t{1} << 50);
      });
}

// The one list of options; the texts of --help are the reference that the manual pages follow.
void add_options(OptionList& list, Options& options) {
  const Options defaults;
  const auto number = [](auto value) { return std::to_string(value); };

  add(list, "PORT", "PORT", number(defaults.port), "TCP port to listen on, on localhost",
      [&options](const std::string& text) { options.port = parse_number(text, 0U, 65535U); });
  add_list(list, "--listen", "ADDRESS",
           "Listen here: PORT, HOST:PORT, [IPv6]:PORT or /PATH of a unix socket (repeatable)",
           options.listen, [](const std::string& address) { (void)parse_listen_address(address); });
  add_list(list, "--monitor", "ADDRESS",
           "Tell here, over HTTP, how it fares: HOST:PORT, [IPv6]:PORT or /PATH (repeatable)",
           options.monitor,
           [](const std::string& address) { (void)parse_listen_address(address); });
  add_list(
      list, "--agent", "ADDRESS",
      "Tell balancers here how much to send (HAProxy's agent-check), as --monitor (repeatable)",
      options.agent, [](const std::string& address) { (void)parse_listen_address(address); });
  add(list, "--agent-full-rate", "N", number(defaults.agent_full_rate),
      "Requests/s that are 100% to balancers; 0: what this server has been seen to do",
      [&options](const std::string& text) {
        options.agent_full_rate = parse_number<unsigned>(text, 0, 1'000'000'000);
      });
  add(list, "--workers", "N|MIN-MAX", number(defaults.min_workers),
      "Worker threads; a range grows and shrinks with the load",
      [&options](const std::string& text) { set_workers(options, text); });
  add(list, "--queue-capacity", "N", number(defaults.queue_capacity),
      "Tasks that may wait for a worker", [&options](const std::string& text) {
        options.queue_capacity = parse_number<std::size_t>(text, 1, 10'000'000);
      });
  add(list, "--task-timeout", "TIME", format_duration(defaults.task_timeout),
      "How long a task may run; 0: as long as it takes (in processes: 30s)",
      [&options](const std::string& text) {
        options.task_timeout = to_duration(text);
        options.task_timeout_given = true;
      });
  add(list, "--worker-idle-timeout", "TIME", format_duration(defaults.worker_idle_timeout),
      "End workers above MIN that were not needed for this long; 0: at once",
      [&options](const std::string& text) { options.worker_idle_timeout = to_duration(text); });
  add(list, "--overload", "wait|reject", "wait",
      "With a full queue, stop reading or answer 'server busy'",
      [&options](const std::string& text) { options.overload = to_overload(text); });
  add(list, "--queue-timeout", "TIME", format_duration(defaults.queue_timeout),
      "How long a task may wait for a worker; 0: as long as it takes",
      [&options](const std::string& text) { options.queue_timeout = to_duration(text); });
  add(list, "--queue-target", "TIME", format_duration(defaults.queue_target),
      "Shed tasks while the wait stays above this; 0: never",
      [&options](const std::string& text) { options.queue_target = to_duration(text); });
  add(list, "--max-inflight-per-connection", "N", number(defaults.max_inflight_per_connection),
      "Unanswered requests of one client; more are not read", [&options](const std::string& text) {
        options.max_inflight_per_connection = parse_number<std::size_t>(text, 1, 10'000'000);
      });
  add(list, "--max-stuck-workers", "N", "",
      "Workers replaced at a time because their task does not end (as many as --workers)",
      [&options](const std::string& text) {
        options.max_stuck_workers = parse_number(text, 0U, kMaxWorkers);
      });
  add(list, "--handler", "NAME", defaults.handler,
      "The work to do: " + built_in_handlers() + ", a plug-in's name, or its /PATH",
      [&options](const std::string& text) {
        if (!handler_exists(text)) {
          throw std::invalid_argument("there is no handler '" + text + "' (there are " +
                                      built_in_handlers() + ", but no " + handler_path(text) + ")");
        }
        options.handler = text;
        options.handler_given = true;
      });
  add_list(list, "--handler-option", "SETTING", "KEY=VALUE, a setting for the handler (repeatable)",
           options.handler_options, [](const std::string& setting) {
             const bool has_key = setting.find('=') != std::string::npos && setting[0] != '=';
             if (!has_key || setting.find('\n') != std::string::npos) {
               throw std::invalid_argument("'" + setting + "' is not KEY=VALUE");
             }
           });
  add_processes(list, options);
  add(list, "--max-reply", "SIZE", format_size(defaults.max_reply),
      "Longest reply of a plug-in or program; a longer one is refused",
      [&options](const std::string& text) { options.max_reply = to_size(text, 1, kMaxMaxLine); });
  add(list, "--max-line", "SIZE", format_size(defaults.max_line),
      "Longest request, without its line end",
      [&options](const std::string& text) { options.max_line = to_size(text, 1, kMaxMaxLine); });
  add(list, "--max-connections", "N", number(defaults.max_connections),
      "Clients served at once; others are refused", [&options](const std::string& text) {
        options.max_connections = parse_number<std::size_t>(text, 1, 10'000'000);
      });
  add(list, "--max-connections-per-peer", "N", number(defaults.max_connections_per_peer),
      "Clients of one address, or one user of a unix socket; 0: no limit",
      [&options](const std::string& text) {
        options.max_connections_per_peer = parse_number<std::size_t>(text, 0, 10'000'000);
      });
  add(list, "--proxy-protocol", "yes|no", "no",
      "Proxies begin with a header, PROXY version 1 or 2, that says who their client is",
      [&options](const std::string& text) { options.proxy_protocol = to_bool(text); });
  list.push_back(
      {"--proxy-source", "SOURCE", "",
       "A proxy's ADDRESS, ADDRESS/BITS, or unix (repeatable; without one: this machine)",
       [&options](const std::string& text) { options.proxy_sources.add(text); },
       [&options] { options.proxy_sources.clear(); }});
  add(list, "--max-unsent", "SIZE", format_size(defaults.max_unsent),
      "Stop reading from a client to which this much is owed", [&options](const std::string& text) {
        options.max_unsent = to_size(text, 1, std::size_t{1} << 30);
      });
  add(list, "--max-memory", "SIZE", "",
      "What requests and replies of all clients may take (a quarter of the memory there is)",
      [&options](const std::string& text) {
        options.max_memory = to_size(text, 1 << 20, std::size_t{1} << 50);
      });
  add(list, "--line-timeout", "TIME", format_duration(defaults.line_timeout),
      "How long a client may take to complete a line; 0: any time",
      [&options](const std::string& text) { options.line_timeout = to_duration(text); });
  add(list, "--send-timeout", "TIME", format_duration(defaults.send_timeout),
      "How long a client may leave its replies unread; 0: for ever",
      [&options](const std::string& text) { options.send_timeout = to_duration(text); });
  add(list, "--idle-timeout", "TIME", format_duration(defaults.idle_timeout),
      "Close connections without traffic for this long; 0: never",
      [&options](const std::string& text) { options.idle_timeout = to_duration(text); });
  add(list, "--drain-timeout", "TIME", format_duration(defaults.drain_timeout),
      "How long a stop waits for accepted work, and for clients to read; 0: not at all",
      [&options](const std::string& text) { options.drain_timeout = to_duration(text); });
  add(list, "--handover-wait", "TIME", format_duration(defaults.handover_wait),
      "How long a restart waits for running tasks, which are then computed again; 0: not at all",
      [&options](const std::string& text) { options.handover_wait = to_duration(text); });
  add(list, "--preserve-connections", "yes|no", "yes",
      "Keep clients connected over a restart, where systemd stores descriptors",
      [&options](const std::string& text) { options.preserve_connections = to_bool(text); });
  add(list, "--log-level", "LEVEL", "info", "debug, info, warning or error",
      [&options](const std::string& text) { options.log_level = to_log_level(text); });
  add(list, "--log-connections", "yes|no", "no",
      "Log who connects: the address, or the user and process at a unix socket",
      [&options](const std::string& text) { options.log_connections = to_bool(text); });
}

}  // namespace

OptionList option_list(Options& options) {
  OptionList list;
  add_options(list, options);
  return list;
}

std::string settle(Options& options) {
  if (!options.isolate_given)
    options.isolate = options.program.empty() && is_plugin(options.handler);
  if (!options.task_timeout_given) {
    options.task_timeout =
        options.in_processes() ? Options::kProcessTimeout : Options().task_timeout;
  }
  std::size_t options_size = 0;
  for (const std::string& setting : options.handler_options) options_size += setting.size() + 1;
  if (options.isolate && options_size > kMostHandlerOptions) {
    return "handler-option: all of them are too long together (max " +
           format_size(kMostHandlerOptions) + ")";
  }
  if (options.program.empty()) return {};
  if (options.isolate) return "program and isolate: a program has processes of its own as it is";
  if (options.handler_given) return "program and handler: only one of them can do the work";
  if (!options.handler_options.empty()) return "handler-option: a program takes its own arguments";
  return {};
}

}  // namespace pool_server
