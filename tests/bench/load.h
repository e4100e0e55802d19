#pragma once

#include <cstdint>
#include <vector>

#include "core/latency_histogram.h"
#include "exchange.h"
#include "server_usage.h"

namespace pool_server::bench {

// Closed-loop load: each connection keeps its number of requests outstanding and sends another for
// every reply. Every reply is compared with the one that its request must have, byte by byte.
struct LoadPlan {
  unsigned port = 0;          // of 127.0.0.1
  int pid = 0;                // the server's, to ask what it uses
  unsigned connections = 1;   // whose latency counts
  unsigned pipeline = 1;      // outstanding requests of each
  unsigned greedy = 0;        // outstanding requests of one more client, counted apart; 0: none
  unsigned idle = 0;          // connections that send one request, beforehand, and then stay
  std::int64_t warm_up = 0;   // µs, not measured
  std::int64_t duration = 0;  // µs, measured; 0: until `requests` were answered
  std::uint64_t requests = 0;
};

struct LoadResult {
  double seconds = 0;
  std::uint64_t replies = 0;         // to the counted connections
  std::uint64_t greedy_replies = 0;  // to the greedy one
  LogLinearHistogram<7> latency;     // of the counted ones, in ns, within 0.8 %
  ServerUsage usage;                 // in the measured time
  std::uint64_t memory_before = 0;   // bytes resident, before the idle connections came
  std::uint64_t memory_with_idle = 0;
};

// Throws std::runtime_error on a wrong reply or a lost connection.
LoadResult run_load(const LoadPlan& plan, const std::vector<Exchange>& exchanges);

}  // namespace pool_server::bench
