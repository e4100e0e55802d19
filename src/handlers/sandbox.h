#pragma once

#include <string>

#include "core/options.h"

namespace pool_server {

// A drop-in for the service with what the handler of `options` needs in its sandbox, and the server
// does not have there as it is: the handler's own file, the libraries that it is linked with or has
// loaded by the time that it is ready, and the files that it has open then. Loads it, as a start
// would. Throws what load_handler() does.
std::string explain_sandbox(const Options& options);

}  // namespace pool_server
