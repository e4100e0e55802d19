#pragma once

#include <spdlog/fmt/fmt.h>

#include <exception>
#include <initializer_list>
#include <string>
#include <string_view>

#include "core/ids.h"
#include "core/options.h"
#include "server/log_events.h"
#include "sys/journal.h"

// The server's log: to the journal with fields where standard error is the journal's, else to
// standard error as lines. Main thread only: workers do not log, what they did is told from the
// timings in their completions. A message that cannot be written is dropped, never waited for, and
// counted; one that repeats is left out, and counted (see core/log_limiter.h).
namespace pool_server::log {

// A field of the journal's entry: {"POOL_SERVER_WORKER", "worker-1"}.
using Field = Journal::Field;

void set_up(LogLevel level);
void set_level(LogLevel level);
bool enabled(LogLevel level);

// Has a crash tell which worker and task of `handler` it was in, where the log goes. Before the
// first thread starts.
void report_crashes(std::string_view handler);

// `event` is written by its name, see server/log_events.h.
void write(LogLevel level, Event event, std::initializer_list<Field> fields,
           std::string_view message);
// The same for what another thread did, whose name the line shows.
void write_for_thread(std::string_view thread, LogLevel level, Event event,
                      std::initializer_list<Field> fields, std::string_view message);

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
