#pragma once

#include <spdlog/fmt/fmt.h>

#include <cstddef>
#include <exception>
#include <initializer_list>
#include <string>
#include <string_view>

#include "core/ids.h"
#include "core/options.h"
#include "core/recent_log.h"
#include "server/log_events.h"
#include "sys/journal.h"

// The server's log: to the journal with fields where standard error is the journal's, else to
// standard error as lines. Main thread only: workers do not log, what they did is told from the
// timings in their completions. A message that cannot be written is dropped, never waited for, and
// counted; one that repeats is left out, and counted (see core/log_limiter.h).
namespace pool_server::log {

// A field of the journal's entry: {"POOL_SERVER_WORKER", "worker-1"}.
using Field = Journal::Field;

// A message that ends with what somebody else has said, in which a piece of a request may be: the
// first `own` bytes are the server's own words. A monitor sees no more than those.
struct Message {
  Message(std::string_view all)  // NOLINT(google-explicit-constructor): as it is written
      : text(all), own(all.size()) {}
  Message(const std::string& all)  // NOLINT(google-explicit-constructor)
      : Message(std::string_view(all)) {}
  Message(const char* all)
      : Message(std::string_view(all)) {}  // NOLINT(google-explicit-constructor)
  Message(std::string_view all, std::size_t own_bytes) : text(all), own(own_bytes) {}

  std::string_view text;
  std::size_t own;
};

void set_up(LogLevel level);
void set_level(LogLevel level);
bool enabled(LogLevel level);

// Has a crash tell which worker and task of `handler` it was in, where the log goes. Before the
// first thread starts.
void report_crashes(std::string_view handler);

// `event` is written by its name, see server/log_events.h.
void write(LogLevel level, Event event, std::initializer_list<Field> fields,
           const Message& message);
// The same for what another thread did, whose name the line shows.
void write_for_thread(std::string_view thread, LogLevel level, Event event,
                      std::initializer_list<Field> fields, const Message& message);

// From now on keeps the newest warnings and errors, for a monitor to show.
void keep_recent();
const RecentLog& recent();

// For where a message is made of what may not be there, memory: `tell` logs, or nothing is logged,
// and that is counted like what could not be written.
void count_dropped();
template <class Tell>
void attempt(Tell tell) {
  try {
    tell();
  } catch (const std::exception&) {
    count_dropped();
  }
}

// Tells how many messages were left out or dropped, as far as that is due at `now`. Returns when it
// is to be called again; kNever: when something more has been logged.
TimeUs tell_missing(TimeUs now);
// The same of all, at the end.
void tell_all_missing();

// Tells the user why there is nothing to run, whether or not the log has been set up: to the
// journal as the error `event`, else to standard error as a line "pool-server: `fault`".
void write_fault(Event event, std::string_view fault);

}  // namespace pool_server::log
