#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "server/command_line.h"
#include "server/log.h"
#include "server/server.h"
#include "sys/service_manager.h"
#include "sys/signal_fd.h"
#include "sys/socket.h"
#include "sys/socket_address.h"
#include "sys/unique_fd.h"

namespace pool_server {
namespace {

std::vector<ListeningSocket> passed_sockets() {
  std::vector<ListeningSocket> sockets;
  for (auto& [fd, name] : service_manager::take_passed_fds()) {
    if (!service_manager::is_stream_listener(fd.get())) {
      throw std::runtime_error("the passed descriptor '" + name +
                               "' is not a listening stream socket");
    }
    std::string address = local_name(fd.get());
    sockets.push_back({std::move(fd), std::move(address), false});
  }
  return sockets;
}

std::vector<ListeningSocket> sockets_to_serve(const Options& options) {
  std::vector<ListeningSocket> sockets = passed_sockets();
  std::vector<std::string> addresses = options.listen;
  if (sockets.empty() && addresses.empty()) addresses.push_back(std::to_string(options.port));
  for (const std::string& address : addresses) {
    for (ListeningSocket& socket : listen_on(parse_listen_address(address))) {
      sockets.push_back(std::move(socket));
    }
  }
  return sockets;
}

// The descriptors that are not clients': standard streams, epoll, eventfd, signalfd, log,
// listeners.
constexpr std::size_t kOwnDescriptors = 32;

void check_descriptor_limit(const Options& options) {
  const std::size_t limit = raise_descriptor_limit();
  if (limit < options.max_connections + kOwnDescriptors) {
    log::write(LogLevel::kWarning, "descriptor-limit", {},
               fmt::format("the limit of {} open descriptors is too low for {} connections", limit,
                           options.max_connections));
  }
}

int serve(const std::vector<std::string>& arguments, const Options& options) {
  ignore_sigpipe();
  SignalFd signals({SIGTERM, SIGINT, SIGHUP});  // before the first thread: all inherit the mask
  log::set_up(options.log_level);
  check_descriptor_limit(options);
  Server server(options, sockets_to_serve(options), signals,
                [&arguments] { return parse_command_line(arguments); });
  if (server.run()) return EXIT_SUCCESS;
  // Workers may be in a task that does not end; to join them would be to wait for it. The kernel
  // releases what they hold.
  ::_exit(kExitFailure);
}

}  // namespace
}  // namespace pool_server

int main(int argc, char** argv) {
  using namespace pool_server;
  fill_standard_descriptors();
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
