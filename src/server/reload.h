#pragma once

#include "core/options.h"

namespace pool_server {

// Takes over into `running` the settings of `wanted` that may change while the server runs, and
// logs those that differ and may not.
void apply_reloadable(const Options& wanted, Options& running);

}  // namespace pool_server
