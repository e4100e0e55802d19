#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/options.h"

namespace pool_server {

enum class Outcome : unsigned char { kOk, kError };

// Tells a running task that nobody waits for its result any more: it timed out, its client left, or
// the server gave up waiting at stop. Polled by the handler on the worker thread.
class StopToken {
 public:
  virtual bool stop_requested() const = 0;

 protected:
  ~StopToken() = default;
};

// Where a handler tells of the request it is at work on, to whoever reads the log; never the
// client. Called by handle(), on its thread. What is too much is left out, and counted.
class TaskLog {
 public:
  virtual void write(LogLevel level, std::string_view text) noexcept = 0;
  // Why the reply will be an internal error, as what was thrown says it. The first reason counts.
  virtual void failed(std::string_view reason) noexcept = 0;

 protected:
  ~TaskLog() = default;
};

// A work function: request text in, reply text out. The one interface a handler implements.
//
// Threads: each worker owns one Handler. It is created and destroyed on the main thread and
// handle() is called on its worker only, one request at a time, so an implementation needs no locks
// unless it shares state between its instances.
//
// handle() appends the reply's text to `reply` (empty on entry), without prefix or line end, never
// gives its capacity away (a worker may have no other memory to answer with), and
// says whether that text is a result or an error message. Control bytes in it reach the client as
// '?'. A thrown exception answers the client with "ERROR: internal error"; its text is logged.
class Handler {
 public:
  virtual ~Handler() = default;
  // The log for its requests, before the first of them; it outlives the handler.
  virtual void use_log(TaskLog&) {}
  virtual Outcome handle(std::string_view request, const StopToken& stop, std::string& reply) = 0;
};

// Makes the handler of one worker. Called on the main thread; may throw, which fails the start of
// that worker only.
using HandlerFactory = std::function<std::unique_ptr<Handler>()>;

// A work function with its options: what makes the handlers of the workers, and outlives them.
class HandlerModule {
 public:
  virtual ~HandlerModule() = default;
  virtual std::unique_ptr<Handler> make() = 0;  // as HandlerFactory
  // No reply to a request of `request_bytes` is longer than this, in bytes, without prefix and line
  // end. It is what memory for the request is counted with before its reply is there, so it must be
  // true, and every byte too many keeps requests waiting that would have had room.
  virtual std::size_t longest_reply(std::size_t request_bytes) const = 0;
};

}  // namespace pool_server
