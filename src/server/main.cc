#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "handlers/registry.h"
#include "server/command_line.h"
#include "server/log.h"
#include "server/server.h"
#include "server/sockets.h"
#include "sys/crash_report.h"
#include "sys/log_fd.h"
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

void prepare_descriptors(const Options& options) {
  const std::size_t limit = raise_descriptor_limit();
  if (limit < options.max_connections + kOwnDescriptors) {
    log::write(LogLevel::kWarning, "descriptor-limit", {},
               fmt::format("the limit of {} open descriptors is too low for {} connections", limit,
                           options.max_connections));
  }
  // More would be much memory for what may never come.
  constexpr std::size_t kMostReserved = 16'384;
  reserve_descriptors(std::min(options.max_connections + kOwnDescriptors, kMostReserved));
}

int run(Server& server) {
  try {
    const Server::End end = server.run();
    log::tell_all_missing();
    // Workers may be in a task that does not end; to join them would be to wait for it. The kernel
    // releases what they hold.
    if (end.workers_busy) std::_Exit(end.exit_status);
    return end.exit_status;
  } catch (const std::exception& error) {
    log::write(LogLevel::kError, "failed", {}, fmt::format("cannot go on: {}", error.what()));
    log::tell_all_missing();
    return kExitFailure;
  }
}

int serve(const std::vector<std::string>& arguments, const Options& options) {
  // Before anything of ours is open: a LISTEN_FDS that is too high must not reach it.
  std::vector<service_manager::PassedFd> passed = service_manager::take_passed_fds();
  prepare_exceptions();
  // Before the first thread: all inherit the mask.
  SignalFd signals({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGRTMIN});
  log::set_up(options.log_level);
  log::report_crashes(options.handler);
  service_manager::open();
  prepare_descriptors(options);
  // Not on the stack, which may be small ("ulimit -s").
  const auto server =
      std::make_unique<Server>(options, take_sockets(options, std::move(passed)), signals,
                               [&arguments] { return parse_command_line(arguments); });
  crash_report::ExitWatch::come_first();  // now that the handler has been loaded
  return run(*server);
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

int start(int argc, char** argv) {
  fill_standard_descriptors();
  append_to_stderr();
  ignore_write_signals();
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const CommandLine command_line = parse_command_line(arguments);
  if (command_line.exit_status) return answer(command_line);
  return serve(arguments, command_line.options);
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

}  // namespace
}  // namespace pool_server

int main(int argc, char** argv) {
  using namespace pool_server;
  const crash_report::ExitWatch exit_watch;
  try {
    return start(argc, argv);
  } catch (const ConfigurationError& error) {
    return fail(error.what(), kExitUsage);
  } catch (const std::bad_alloc&) {
    return fail("out of memory", kExitFailure);
  } catch (const std::exception& error) {
    return fail(error.what(), kExitFailure);
  }
}
