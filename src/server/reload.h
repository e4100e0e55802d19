#pragma once

#include "core/options.h"

namespace pool_server {

// Takes over into `running` the settings of `wanted` that may change while the server runs, and
// logs those that differ and may not. All or nothing: what it throws (std::bad_alloc) it throws
// before `running` is touched.
void apply_reloadable(Options wanted, Options& running);

}  // namespace pool_server
