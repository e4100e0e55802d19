#pragma once

#include "monitor/http.h"

namespace pool_server {

// Loads the HTTP server and what it takes, some milliseconds; it stays loaded. Before the loop
// runs. Throws std::runtime_error that says why it cannot be had.
const HttpModule& load_http();

}  // namespace pool_server
