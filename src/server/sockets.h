#pragma once

#include <vector>

#include "core/options.h"
#include "sys/socket_address.h"
#include "sys/unique_fd.h"

namespace pool_server {

// What this process is to serve from its start.
struct StartingSockets {
  std::vector<ListeningSocket> listeners;
  std::vector<UniqueFd> handovers;  // left in the service manager's store, see Handover::collect
};

// Takes the sockets that the service manager passes, and makes those that the options ask for.
// Throws std::exception with a message for the user.
StartingSockets take_sockets(const Options& options);

}  // namespace pool_server
