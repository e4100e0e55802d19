#pragma once

#include "views/http_client.h"
#include "views/monitor_address.h"

namespace pool_server::views {

// Exit statuses, as monitoring plug-ins have them: 0 is fine, then warning, critical, unknown.
inline constexpr int kExitNotReady = 1;
inline constexpr int kExitNoAnswer = 2;
inline constexpr int kExitUsage = 3;

// Asks a server whether it would take work, says so in a line, and returns the exit status.
int check(const MonitorAddress& address, HttpClient::Time timeout);

}  // namespace pool_server::views
