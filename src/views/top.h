#pragma once

#include "views/monitor_address.h"

namespace pool_server::views {

// Shows a server, in the terminal until somebody quits or a signal comes, or once as text where
// there is no terminal. Returns the exit status: 0, or kExitNoAnswer (see check.h) of a text that
// could not be had. A signal that ended it ends the process too, with the terminal put back.
int top(const MonitorAddress& address);

}  // namespace pool_server::views
