#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pool_server {

// What a child is to be.
struct Execution {
  std::vector<std::string> words;   // at least one
  int input = -1;                   // becomes standard input,
  int output = -1;                  // ... output,
  int error = -1;                   // ... and error
  const char* protocol = "lines";   // for $POOL_SERVER_PROTOCOL
  std::uint64_t address_space = 0;  // RLIMIT_AS in bytes; 0: as it is
};

// In a process just forked by `parent`, with one thread and no descriptor open that is not
// close-on-exec: becomes the program. A session and a process group of its own, signals as in a
// shell, SIGKILL when the parent ends. A name without a slash is looked for in $PATH; no shell ever
// reads what is no program. Returns errno when it cannot be done.
int execute(const Execution& execution, pid_t parent);

// Why `program` cannot be executed by this process; empty: nothing speaks against it.
std::string execution_fault(const std::string& program);

}  // namespace pool_server
