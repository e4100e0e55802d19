#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "server/command_line.h"
#include "server/log.h"
#include "server/server.h"
#include "server/sockets.h"
#include "sys/crash_report.h"
#include "sys/signal_fd.h"
#include "sys/socket.h"
#include "sys/thread.h"
#include "sys/unique_fd.h"

namespace pool_server {
namespace {

// The descriptors that are not clients': standard streams, epoll, eventfd, signalfd, log,
// listeners.
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

int serve(const std::vector<std::string>& arguments, const Options& options) {
  ignore_sigpipe();
  prepare_exceptions();
  SignalFd signals({SIGTERM, SIGINT, SIGHUP});  // before the first thread: all inherit the mask
  log::set_up(options.log_level);
  log::report_crashes(options.handler);
  prepare_descriptors(options);
  Server server(options, take_sockets(options), signals,
                [&arguments] { return parse_command_line(arguments); });
  crash_report::ExitWatch::come_first();  // now that the handler has been loaded
  const Server::End end = server.run();
  // Workers may be in a task that does not end; to join them would be to wait for it. The kernel
  // releases what they hold.
  if (end.workers_busy) std::_Exit(end.exit_status);
  return end.exit_status;
}

}  // namespace
}  // namespace pool_server

int main(int argc, char** argv) {
  using namespace pool_server;
  fill_standard_descriptors();
  const crash_report::ExitWatch exit_watch;
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const CommandLine command_line = parse_command_line(arguments);
  std::cout << command_line.answer << std::flush;
  for (const std::string& fault : command_line.faults)
    std::cerr << "pool-server: " << fault << '\n';
  if (command_line.exit_status) return *command_line.exit_status;
  try {
    return serve(arguments, command_line.options);
  } catch (const std::exception& error) {
    std::cerr << "pool-server: " << error.what() << '\n';
    return kExitFailure;
  }
}
