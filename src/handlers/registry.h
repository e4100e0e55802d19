#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "core/handler.h"
#include "core/options.h"

namespace pool_server {

// Whether `name` may be loaded: a built-in handler, one in the handlers' directory, or any path.
bool handler_exists(std::string_view name);
bool is_plugin(std::string_view name);            // it is in a file of its own
std::string built_in_handlers();                  // "digest, drill, ..."
std::string handler_path(std::string_view name);  // where the handlers' directory would have it

// What is wrong with the options will be wrong at the next try, too.
class ConfigurationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// No reply to a request is longer than this, in bytes, without prefix and line end. It is what
// memory for the request is counted with before its reply is there, so it must be true, and every
// byte too many keeps requests waiting that would have had room.
using LongestReply = std::function<std::size_t(std::size_t request_bytes)>;
LongestReply longest_reply_of(const Options& options);

// The handler that `options` ask for. Throws std::runtime_error that says why it cannot do its
// work; of a built-in one that refuses its options, ConfigurationError. (What a plug-in refuses may
// be what it found outside.)
std::unique_ptr<HandlerModule> load_handler(const Options& options);

}  // namespace pool_server
