#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "core/handler.h"

namespace pool_server {

// A handler from a shared object that has the interface of include/pool-server/handler.h.
//
// Throws std::runtime_error that says why it cannot be used: the file cannot be loaded, it is no
// handler, it was built for another version of the interface, or it does not start. A reply that
// holds control bytes or is longer than `max_reply` bytes becomes an error message to its client.
std::unique_ptr<HandlerModule> load_plugin(const std::string& path,
                                           const std::string& configuration, std::size_t max_reply);

}  // namespace pool_server
