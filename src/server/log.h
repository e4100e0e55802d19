#pragma once

#include <spdlog/fmt/fmt.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "core/options.h"
#include "sys/journal.h"

// The server's log: to the journal with fields where standard error is the journal's, else to
// standard error as lines. Main thread only: workers do not log, what they did is told from the
// timings in their completions. A message that cannot be written is dropped, never waited for.
namespace pool_server::log {

// A field of the journal's entry: {"POOL_SERVER_WORKER", "worker-1"}.
using Field = Journal::Field;

void set_up(LogLevel level);
void set_level(LogLevel level);
bool enabled(LogLevel level);

// Has a crash tell which worker and task of `handler` it was in, where the log goes. Before the
// first thread starts.
void report_crashes(std::string_view handler);

// `event` is a stable name (POOL_SERVER_EVENT=, see pool-server(8)).
void write(LogLevel level, std::string_view event, std::initializer_list<Field> fields,
           std::string_view message);
// The same for what another thread did, whose name the line shows.
void write_for_thread(std::string_view thread, LogLevel level, std::string_view event,
                      std::initializer_list<Field> fields, std::string_view message);

}  // namespace pool_server::log
