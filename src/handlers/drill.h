#pragma once

#include <cstddef>
#include <memory>

#include "core/handler.h"

namespace pool_server {

// For tests and for rehearsing failures:
//   echo TEXT   result: TEXT
//   sleep MS    waits; spin MS burns CPU; both end early when their stop token is set
//   hang MS     waits and ignores its stop token
//   fail, bad   error replies; throw: an exception
std::unique_ptr<Handler> make_drill_handler();
std::size_t longest_drill_reply(std::size_t request_bytes);  // see LongestReply

}  // namespace pool_server
