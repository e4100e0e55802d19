#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "core/handler.h"

namespace pool_server {

// What a process that runs a handler for a worker was given.
struct IsolatedStart {
  int requests = -1;  // see messages.h
  int claims = -1;    // see claims.h
  int report = -1;    // where to tell that it runs, or why not
  int error = -1;     // becomes its standard error
  std::uint64_t address_space = 0;
  std::string label;
};

// The life of such a process, forked by `parent` with one thread: makes a handler of `module`, and
// calls it for one request after the other, until it is told to stop or its socket ends. Never
// returns.
//
// It reads a request only when it is about to begin with it: what it has not read, its worker may
// give to others.
[[noreturn]] void run_isolated(HandlerModule& module, const IsolatedStart& start, pid_t parent);

}  // namespace pool_server
