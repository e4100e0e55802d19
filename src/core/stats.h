#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/latency_histogram.h"

namespace pool_server {

// What the server counts, from the first process of the service on. Plain integers: only the loop
// thread touches them, timings ride back to it inside the completions.
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
  std::uint64_t task_errors = 0;   // tasks that ended with an error of the handler's,
  std::uint64_t task_crashes = 0;  // ... or because their worker's program crashed
  std::uint64_t bytes_in = 0;      // received from clients
  std::uint64_t bytes_out = 0;     // sent to them
  std::uint64_t restarts = 0;      // hand-overs from one process to the next
  std::uint64_t carried = 0;       // connections taken over in them,
  std::uint64_t lost = 0;          // ... and those that were to be, and were not
  std::uint64_t cpu_before = 0;    // CPU time that earlier processes had, in µs,
  std::uint64_t programs_cpu = 0;  // ... and that programs have had, as far as it was looked at
  std::uint64_t served_since = 0;  // when the first of them started, in µs of Unix time
  // What balancers are told by, see AgentReport::Memory.
  std::uint64_t agent_best = 0;
  std::uint64_t agent_mean = 0;
  std::uint64_t agent_free = 0;
  LatencyHistogram wait;  // accepted to begun, of every task begun
  LatencyHistogram run;   // begun to ended
};

// All of `counters`, in an order that only ever grows at its end, and back.
std::vector<std::uint64_t> totals_of(const Counters& counters);
void restore_totals(const std::vector<std::uint64_t>& totals, Counters& counters);

// How many workers are at work, as far as one knows without asking them: no more than hold a line
// (`held`: popped and not come back, several by one worker while they are short), and no more than
// are awake; but one at least until all have come back, so that at none all are counted.
inline std::size_t workers_at_work(std::size_t held, std::size_t workers, std::size_t asleep) {
  const std::size_t awake = workers - std::min(workers, asleep);
  return std::min(held, std::max<std::size_t>(awake, 1));
}

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
