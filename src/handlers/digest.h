#pragma once

#include <cstddef>
#include <memory>

#include "core/handler.h"

namespace pool_server {

// TEXT → the lower-case hexadecimal SHA-256 of its bytes; "bad" → an error, for trying things out.
std::unique_ptr<Handler> make_digest_handler();
std::size_t longest_digest_reply(std::size_t request_bytes);  // see LongestReply

}  // namespace pool_server
