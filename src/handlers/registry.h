#pragma once

#include <string>
#include <string_view>

#include "core/handler.h"

namespace pool_server {

// The factory of the built-in handler of that name; empty when there is none.
HandlerFactory find_handler(std::string_view name);
std::string handler_names();  // "digest, drill", for messages

}  // namespace pool_server
