#pragma once

#include <sys/types.h>

#include <csignal>
#include <span>
#include <string>
#include <string_view>

#include "children/messages.h"

// What the processes of a nursery do first, each just forked, with one thread.
namespace pool_server {

// Where a process has what it was given, next to its standard streams.
inline constexpr int kFirstGiven = 3;

// Tells a handler's process that its task is to end, and a keeper that all is to end. None that
// `systemctl kill` would send to all processes of the service by way of the manual.
inline int stop_signal() {
  return SIGRTMIN + 7;
}

// A session of its own, the name that tools show, and no signal that is meant for the daemon: those
// are ignored. `on_death`: what the end of `parent` sends it; it ends at once when that has gone.
void settle_in(const std::string& name, pid_t parent, int on_death);

// Nothing stays open but `kept`, from kFirstGiven on in their order, and `error` as standard error;
// -1, and whatever else is a standard stream, is /dev/null. False: errno tells why not.
bool keep_only(std::span<const int> kept, int error);

// A nursery may have many children, with some descriptors for each; they get the limit that the
// daemon was started with, as to some programs a high one means trouble.
void raise_descriptor_limit_here();
void restore_descriptor_limit();

// To who waits for this start.
void report_start(int report, StartReport::Kind kind, int error, std::string_view text = {});

}  // namespace pool_server
