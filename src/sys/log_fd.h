#pragma once

#include <string_view>

#include "sys/unique_fd.h"

namespace pool_server {

// What is written to standard error goes to the end of the file, where it is one: lines of others
// who have it open are not written over, nor are those of this program by one another. At the
// start.
void append_to_stderr();

// Standard error opened anew, for appending and without waiting; -1: it cannot be.
// Async-signal-safe.
int open_stderr();

// Standard error for a server that must not wait for whoever reads it.
//
// Where it cannot be opened anew (it is another user's, or /proc is missing), lines for a pipe or a
// terminal are cut to PIPE_BUF bytes and written only where poll(2) says that there is room, which
// for a pipe means room for as much as that. Only another writer who takes the room in between
// could then hold this one up.
class LogFd {
 public:
  LogFd();
  // False: it cannot be written now, and is lost.
  bool write(std::string_view line);

 private:
  enum class Kind : unsigned char { kOpenedAnew, kFile, kSocket, kOther };

  UniqueFd fd_;
  Kind kind_ = Kind::kOpenedAnew;
};

}  // namespace pool_server
