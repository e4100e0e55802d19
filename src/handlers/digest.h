#pragma once

#include <memory>

#include "core/handler.h"

namespace pool_server {

// TEXT → the lower-case hexadecimal SHA-256 of its bytes; "bad" → an error, for trying things out.
std::unique_ptr<Handler> make_digest_handler();

}  // namespace pool_server
