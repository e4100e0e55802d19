#pragma once

#include <vector>

#include "core/options.h"
#include "sys/service_manager.h"
#include "sys/socket_address.h"
#include "sys/unique_fd.h"

namespace pool_server {

// What this process is to serve from its start.
struct StartingSockets {
  std::vector<ListeningSocket> listeners;
  std::vector<ListeningSocket> monitors;
  std::vector<ListeningSocket> agents;
  std::vector<UniqueFd> handovers;  // left in the service manager's store, see Succession
};

// The names (FileDescriptorName=) of passed sockets that are for a monitor, and for balancers.
inline constexpr const char* kMonitorName = "monitor";
inline constexpr const char* kAgentName = "agent";

// Sorts what the service manager has passed, and makes the sockets that the options ask for. What
// is none of ours is closed, and told. Throws std::exception with a message for the user.
StartingSockets take_sockets(const Options& options,
                             std::vector<service_manager::PassedFd>&& passed);

}  // namespace pool_server
