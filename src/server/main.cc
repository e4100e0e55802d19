#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "children/nursery.h"
#include "handlers/registry.h"
#include "monitor/agent.h"
#include "monitor/module.h"
#include "monitor/monitor.h"
#include "server/command_line.h"
#include "server/failed_starts.h"
#include "server/handover.h"
#include "server/log.h"
#include "server/server.h"
#include "server/sockets.h"
#include "sys/crash_report.h"
#include "sys/log_fd.h"
#include "sys/program_files.h"
#include "sys/service_manager.h"
#include "sys/signal_fd.h"
#include "sys/socket.h"
#include "sys/thread.h"
#include "sys/unique_fd.h"

namespace pool_server {
namespace {

// The descriptors that are not clients': standard streams, epoll, eventfd, signalfd, log, the
// service manager, listeners, the reserve.
constexpr std::size_t kOwnDescriptors = 32;
// The sockets to the nursery, and of each process the streams, lifeline, wake-up and statm, and
// what there is more while it starts.
constexpr std::size_t kNurseryDescriptors = 3;
constexpr std::size_t kEachProcess = 12;
// Of a monitor: its connections, two epolls, listeners and what it looks at.
constexpr std::size_t kMonitorDescriptors = Monitor::kMaxConnections + 8;
// Of an agent: its visitors and listeners.
constexpr std::size_t kAgentDescriptors = Agent::kMostVisitors + 4;

void prepare_descriptors(const Options& options, bool monitors, bool agents) {
  const std::size_t limit = raise_descriptor_limit();
  const std::size_t own =
      kOwnDescriptors +
      (options.in_processes() ? kNurseryDescriptors + options.max_workers * kEachProcess : 0) +
      (monitors ? kMonitorDescriptors : 0) + (agents ? kAgentDescriptors : 0);
  if (limit < options.max_connections + own) {
    log::write(LogLevel::kWarning, "descriptor-limit", {},
               fmt::format("the limit of {} open descriptors is too low for {} connections", limit,
                           options.max_connections));
  }
  // More would be much memory for what may never come.
  constexpr std::size_t kMostReserved = 16'384;
  reserve_descriptors(std::min(options.max_connections + own, kMostReserved));
}

// Null: it cannot be had, which only who asked for it by an option takes for a failure.
const HttpModule* load_monitor(const Options& options) {
  try {
    return &load_http();
  } catch (const std::runtime_error& error) {
    if (!options.monitor.empty()) throw;
    log::write(LogLevel::kError, "monitor-failed", {}, error.what());
    return nullptr;
  }
}

int run(Server& server, Nursery* nursery) {
  try {
    const Server::End end = server.run();
    log::tell_all_missing();
    // Workers may be in a task that does not end; to join them would be to wait for it. The kernel
    // releases what they hold. Their processes are ended all the same.
    if (end.workers_busy) {
      if (nursery != nullptr) nursery->end();
      std::_Exit(end.exit_status);
    }
    return end.exit_status;
  } catch (const std::exception& error) {
    log::write(LogLevel::kError, "failed", {}, fmt::format("cannot go on: {}", error.what()));
    log::tell_all_missing();
    return kExitFailure;
  }
}

int answer(const CommandLine& command_line) {
  std::cout << command_line.answer << std::flush;
  for (const std::string& fault : command_line.faults) {
    if (command_line.is_check) {
      log::write_fault("check-failed", fault);
    } else {
      log::write_fault("start-failed", fault);
    }
  }
  // See CommandLine::faults.
  if (*command_line.exit_status != 0 && command_line.faults.empty()) throw std::bad_alloc();
  if (std::cout) return *command_line.exit_status;
  log::write_fault("start-failed", "cannot write to standard output");
  return kExitFailure;
}

int serve(const std::vector<std::string>& arguments, CommandLine command_line) {
  // Before anything of ours is open: a LISTEN_FDS that is too high must not reach it.
  std::vector<service_manager::PassedFd> passed = service_manager::take_passed_fds();
  prepare_exceptions();
  // Before the first thread: all inherit the mask.
  SignalFd signals({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGRTMIN});
  log::set_up(command_line.options.log_level);
  service_manager::open();
  FailedStarts failed_starts(passed);
  const FailedStarts::Wait waited = failed_starts.wait(signals);
  if (waited == FailedStarts::Wait::kStopped) {
    const auto is_handover = [](const auto& each) { return each.name == Handover::kName; };
    if (std::ranges::none_of(passed, is_handover)) return 0;
    // Clients of the last process may be owed something: they get it, as far as this one can start.
    (void)::raise(SIGTERM);
  }
  // What was wrong may have been mended meanwhile.
  if (waited != FailedStarts::Wait::kNone) command_line = parse_command_line(arguments);
  if (command_line.exit_status) return answer(command_line);
  const Options& options = command_line.options;
  log::set_level(options.log_level);
  // Before the first thread. What else this process has open, the nursery closes.
  std::unique_ptr<Nursery> nursery;
  if (options.in_processes()) nursery = std::make_unique<Nursery>();
  log::report_crashes(!options.program.empty() ? "(program)"
                      : options.isolate        ? "(isolated)"
                                               : std::string_view(options.handler));
  const auto passes = [&passed](std::string_view name) {
    return std::ranges::any_of(passed, [name](const auto& each) { return each.name == name; });
  };
  const bool monitors = !options.monitor.empty() || passes(kMonitorName);
  const bool agents = !options.agent.empty() || passes(kAgentName);
  prepare_descriptors(options, monitors, agents);
  if (monitors) log::keep_recent();
  StartingSockets sockets = take_sockets(options, std::move(passed));
  const HttpModule* const http = sockets.monitors.empty() ? nullptr : load_monitor(options);
  // Not on the stack, which may be small ("ulimit -s").
  const auto server = std::make_unique<Server>(
      options, std::move(sockets), signals, [&arguments] { return parse_command_line(arguments); },
      nursery.get(), http);
  failed_starts.succeeded();
  crash_report::ExitWatch::come_first();  // now that the handler has been loaded
  return run(*server, nursery.get());
}

int start(int argc, char** argv) {
  fill_standard_descriptors();
  append_to_stderr();
  ignore_write_signals();
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  CommandLine command_line = parse_command_line(arguments);
  // A start that fails for what may pass is one of those that are counted.
  const bool may_pass = command_line.exit_status == kExitFailure && !command_line.is_check;
  if (command_line.exit_status && !may_pass) return answer(command_line);
  return serve(arguments, std::move(command_line));
}

// "check" and "top" ask a server how it fares, and take nothing that a server takes: they are a
// program of their own.
bool asks_for_a_view(int argc, char** argv) {
  return argc > 1 && (std::string_view(argv[1]) == "check" || std::string_view(argv[1]) == "top");
}

int become_viewer(char** argv) {
  const std::string program = file_beside_program("pool-server-views");
  ::execv(program.c_str(), argv);
  log::write_fault("start-failed", fmt::format("cannot run {} (package pool-server-views), "
                                               "which '{}' takes: {}",
                                               program, argv[1], std::strerror(errno)));
  return kExitUsage;
}

// There may be no memory to say it at length.
int fail(const char* reason, int exit_status) {
  try {
    log::write_fault("start-failed", reason);
  } catch (const std::exception&) {
    LogFd().write("pool-server: cannot start: out of memory\n");
  }
  return exit_status;
}

std::terminate_handler handler_of_main;

// Before main(), the static objects of this program and of the headers that it includes have no
// memory: nobody could catch what they throw.
[[gnu::constructor(101)]] void expect_no_memory() {
  handler_of_main = std::set_terminate([] {
    LogFd().write("pool-server: cannot start: out of memory\n");
    ::_exit(kExitFailure);
  });
}

}  // namespace
}  // namespace pool_server

int main(int argc, char** argv) {
  using namespace pool_server;
  std::set_terminate(handler_of_main);
  const crash_report::ExitWatch exit_watch;
  try {
    if (asks_for_a_view(argc, argv)) return become_viewer(argv);
    return start(argc, argv);
  } catch (const ConfigurationError& error) {
    return fail(error.what(), kExitUsage);
  } catch (const std::bad_alloc&) {
    return fail("out of memory", kExitFailure);
  } catch (const std::exception& error) {
    return fail(error.what(), kExitFailure);
  }
}
