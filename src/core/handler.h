#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/ids.h"
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
  // The process that worked on it has ended, `how`, having said `last_words`.
  virtual void crashed(std::string_view how, std::string_view last_words) noexcept = 0;

 protected:
  ~TaskLog() = default;
};

// What a worker is going to have handled next: for a handler that can make a start on several
// requests, because others do the work. Called by handle(), on its thread.
class Upcoming {
 public:
  // Fills `texts` with requests in the order in which handle() will be called with them, next after
  // those that were reserved before, none of them longer than `longest` bytes. Returns their
  // number. They are this worker's until they are handled or no longer reserved; the texts stay
  // where they are until handle() returns.
  virtual std::size_t reserve(std::span<std::string_view> texts, std::size_t longest) = 0;
  // Only the first `count` of those that are reserved stay so: others may take the rest.
  virtual void keep_reserved(std::size_t count) noexcept = 0;
  // What the request that is being handled took, in µs, where that is less than it took to have it
  // done elsewhere.
  virtual void was_work(TimeUs work) noexcept = 0;

 protected:
  ~Upcoming() = default;
};

// A work function: request text in, reply text out. The one interface a handler implements.
//
// Threads: each worker owns one Handler. It is created and destroyed on the main thread and
// handle() is called on its worker only, one request at a time, so an implementation needs no locks
// unless it shares state between its instances.
//
// handle() appends the reply's text to `reply` (empty on entry), without prefix or line end, and
// says whether that text is a result or an error message. Control bytes in it reach the client as
// '?'. A thrown exception answers the client with "ERROR: internal error"; its text is logged.
class Handler {
 public:
  virtual ~Handler() = default;
  // The log for its requests, before the first of them; it outlives the handler.
  virtual void use_log(TaskLog&) {}
  // The same for the requests themselves.
  virtual void use_upcoming(Upcoming&) {}
  // The number of its worker, before the first request.
  virtual void serve_as(unsigned /*worker*/) {}
  // On its worker, before each time that this looks for requests: for what a handler needs to do
  // its work, and should get between two requests. It may wait for it, as others can take the
  // requests meanwhile, but not past interrupt() when `closing` says stop. True: it took time.
  virtual bool prepare(const StopToken& /*closing*/) { return false; }
  // On the main thread: the stop token of the running request, or of prepare(), has just been set.
  // May come too late, when that has ended by itself and the handler is at something else.
  virtual void interrupt() noexcept {}
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
};

}  // namespace pool_server
