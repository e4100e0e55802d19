#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sys/unique_fd.h"

// systemd, where it is the parent; everything here is silent where it is not. The only place that
// knows <systemd/sd-daemon.h>. Main thread only. Nothing here waits for a manager that does not
// read but store_fd(), which says how long.
namespace pool_server::service_manager {

struct PassedFd {
  UniqueFd fd;  // close-on-exec, and whatever else it was made (systemd passes sockets blocking)
  std::string name;
};

// Takes the descriptors passed to this process and clears the variables that announce them. To be
// called before the process opens a descriptor, as one of its own might be among those announced.
// Throws std::system_error when one that is announced is not open, or the variables make no sense.
std::vector<PassedFd> take_passed_fds();

// Is it a listening stream socket (TCP or unix)? Throws std::system_error when that cannot be told:
// to take it for none would leave its clients in a backlog that nobody serves.
bool is_stream_listener(int fd);

// Does whoever sends SIGTERM for the manager always say before whether it is for a stop or for a
// restart? The unit says so, by POOL_SERVER_STOPS_ARE_ANNOUNCED=yes.
bool announces_stops();

// Is there a manager that wants to hear from this process?
bool is_listening();

// Takes the descriptor that notifications need, while there is one to be had. Throws
// std::system_error when there is none. What notifies without it does this first.
void open();

// Sends "KEY=value" lines. What the manager does not take now is sent by flush(), after what waits
// already; of messages that begin with the same KEY= the newest is enough. A manager that does not
// listen is not an error to a daemon.
void notify(const std::string& state);
// Sends what waits. False: something still does, as the manager does not read.
bool flush();

// Tells that a reload begins, and when (the manager tells by the time which READY=1 belongs to it).
void notify_reloading();

// How often the manager wants WATCHDOG=1 at the least, in µs; nullopt: not at all.
std::optional<std::int64_t> watchdog_interval();

// Asks the manager to keep a duplicate of `fd` under `name` until the next start of this service (a
// restart keeps it, a stop drops it), and waits until it has dealt with that. Whether it kept it is
// not known from here. False: it did not answer within `timeout` µs, and was asked to drop it.
// Takes two descriptors for the while.
bool store_fd(int fd, const std::string& name, std::int64_t timeout);
// The same without the wait, as the first thing of a process: sent at once or, to a manager that
// does not read, not at all.
void send_fd_to_store(int fd, const std::string& name);
void remove_stored_fds(const std::string& name);

}  // namespace pool_server::service_manager
