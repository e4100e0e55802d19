#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/latency_histogram.h"

namespace pool_server {

// What the server counts. Plain integers: only the loop thread touches them, timings ride back to
// it inside the completions.
struct Counters {
  std::uint64_t accepted = 0;      // connections ever accepted
  std::uint64_t refused = 0;       // connections turned away at the limit
  std::uint64_t completed = 0;     // tasks that ended, failed and timed-out ones included
  std::uint64_t errors = 0;        // "ERROR: ..." replies handed to a client's output
  std::uint64_t timeouts = 0;      // tasks answered for being past --task-timeout
  std::uint64_t shed_busy = 0;     // answered "server busy": the queue was full
  std::uint64_t shed_timeout = 0;  // answered "waited too long": past --queue-timeout
  std::uint64_t shed_target = 0;   // the same, past --queue-target
  std::uint64_t quarantined = 0;   // workers ever given up for stuck
  std::uint64_t idle_closed = 0;   // connections closed for having been idle,
  std::uint64_t slow_lines = 0;    // ... for not completing a line,
  std::uint64_t slow_readers = 0;  // ... for not reading their replies
  std::uint64_t cancelled = 0;     // queued tasks taken back because their client left
  std::uint64_t dropped = 0;       // results that found their client gone or answered already
  LatencyHistogram wait;           // accepted to begun, of every task begun
  LatencyHistogram run;            // begun to ended
};

// The totals of `counters`, in an order that only ever grows at its end, and back.
std::vector<std::uint64_t> totals_of(const Counters& counters);
void restore_totals(const std::vector<std::uint64_t>& totals, Counters& counters);

// Counters and the state of the moment, as STATS and STATUS= tell it.
struct StatsView {
  const Counters& counters;
  TimeUs uptime = 0;
  std::size_t connections = 0;
  std::size_t workers = 0;
  std::size_t active_workers = 0;
  std::size_t stuck_workers = 0;  // given up, replaced, and not come back; not among `workers`
  std::size_t queue_depth = 0;
  std::size_t queue_capacity = 0;
  std::string_view mode = {};  // as STATUS= begins with; empty in normal service
};

std::string format_stats(const StatsView& view);   // the STATS reply, without the LF
std::string format_status(const StatsView& view);  // one line for a human, for STATUS=

}  // namespace pool_server
