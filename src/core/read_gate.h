#pragma once

#include <cstddef>
#include <cstdint>

namespace pool_server {

// What is held on behalf of one connection, against what it may hold.
struct ConnectionLoad {
  std::uint64_t unanswered = 0;    // requests reserved and not yet released to the output
  std::size_t bytes_owed = 0;      // see ReplyWriter::bytes_owed
  bool end_of_input = false;       // the client has half-closed
  bool waiting_for_queue = false;  // its next request did not fit into the task queue, or memory
  bool no_room_to_read = false;    // the budget of all clients allows this one no more input,
  bool no_room_to_admit = false;   // or no more requests
  bool draining = false;           // the server is stopping
};

struct ConnectionLimits {
  std::uint64_t max_unanswered = 1024;
  std::size_t max_bytes_owed = 1 << 20;
};

// May the next request of this connection be admitted? Pure.
bool may_admit(const ConnectionLoad& load, const ConnectionLimits& limits);

// May bytes be read from this connection's socket? Only when what they hold could be admitted: what
// is not read stays in the kernel, and the client feels it as TCP backpressure. Pure.
bool may_read(const ConnectionLoad& load, const ConnectionLimits& limits);

}  // namespace pool_server
