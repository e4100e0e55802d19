#pragma once

#include <vector>

#include "core/metrics.h"
#include "core/server_state.h"

namespace pool_server {

// Everything that is measured, each metric in its one place. pool-server-monitoring(7) tells what
// to do about each; a test holds the two together.
std::vector<Metric> metrics_of(const ServerState& state);

}  // namespace pool_server
