#include "server/sockets.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "server/handover.h"
#include "server/log.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

void make_sockets(const std::vector<std::string>& addresses, std::vector<ListeningSocket>& to) {
  for (const std::string& address : addresses) {
    for (ListeningSocket& socket : listen_on(parse_listen_address(address))) {
      to.push_back(std::move(socket));
    }
  }
}

}  // namespace

StartingSockets take_sockets(const Options& options,
                             std::vector<service_manager::PassedFd>&& passed) {
  auto all = std::move(passed);  // what is none of ours is closed at the end of this
  StartingSockets sockets;
  bool any_unknown = false;
  for (auto& [fd, name] : all) {
    if (service_manager::is_stream_listener(fd.get())) {
      set_nonblocking(fd.get());
      std::string address = local_name(fd.get());
      auto& kind = name == kMonitorName ? sockets.monitors
                   : name == kAgentName ? sockets.agents
                                        : sockets.listeners;
      kind.push_back({std::move(fd), std::move(address), {}});
    } else if (name == Handover::kName) {
      sockets.handovers.push_back(std::move(fd));
    } else {
      any_unknown = true;
      log::write(
          LogLevel::kWarning, "unknown-descriptor", {{"POOL_SERVER_NAME", name}},
          fmt::format("closing the passed descriptor '{}': not a listening stream socket", name));
      service_manager::remove_stored_fds(name);
    }
  }
  std::vector<std::string> addresses = options.listen;
  if (sockets.listeners.empty() && addresses.empty()) {
    if (any_unknown) {
      throw std::runtime_error("none of the passed descriptors is a listening stream socket");
    }
    addresses.push_back(std::to_string(options.port));
  }
  make_sockets(addresses, sockets.listeners);
  make_sockets(options.monitor, sockets.monitors);
  make_sockets(options.agent, sockets.agents);
  return sockets;
}

}  // namespace pool_server
