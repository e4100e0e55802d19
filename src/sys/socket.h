#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "sys/unique_fd.h"

namespace pool_server {

// The run-time outcomes of socket calls are values: none of them is exceptional to a server.
enum class IoStatus : unsigned char {
  kOk,
  kAgain,  // would block; epoll will tell
  kEof,    // the peer has sent all it will send
  kError,  // reset, timed out, broken: the connection is gone
};

struct IoResult {
  IoStatus status = IoStatus::kOk;
  std::size_t bytes = 0;  // moved, with kOk
};

IoResult receive(int fd, std::span<char> buffer);
IoResult send(int fd, std::string_view bytes);

enum class AcceptStatus : unsigned char {
  kOk,
  kAgain,        // no one is waiting
  kGone,         // this one left before it was accepted; try the next
  kNoResources,  // out of descriptors or memory: the connection stays in the backlog
  kRefused,      // something forbids it (a policy, say): the same, and it may be allowed again
  kDead,         // the listener is none any more: shut down, or no listening socket
};

struct AcceptResult {
  AcceptStatus status = AcceptStatus::kAgain;
  UniqueFd socket;  // non-blocking, close-on-exec; valid with kOk
  int error = 0;    // errno with all but kOk and kAgain
};

AcceptResult accept_connection(int listener);

// Names a socket in every process that has it (SO_COOKIE); 0 when it has no name.
std::uint64_t socket_cookie(int fd);
// Bytes that wait to be read: of a pipe, at whichever end one asks.
std::size_t unread_input(int fd);
// Waits for some, or for the end of `fd`, until `deadline` (µs of the monotonic clock). False: in
// vain.
bool wait_for_input(int fd, std::int64_t deadline);
// Bytes sent that the peer's side has not taken in yet (SIOCOUTQ).
std::size_t unacknowledged_output(int fd);
// Bytes sent that a close could still take from the peer: none of a unix socket's, which are with
// the peer already, nor where the connection is gone; a FIN on its way counts as one.
std::size_t undelivered_output(int fd);
void shut_down_sending(int fd);
// Both directions: whoever has the socket sees the end of it.
void shut_down(int fd);
// Makes the last reference to a socket one that can be closed in good order, as far as that goes
// without waiting: our end of it is told, and what the peer has sent by now is dropped, as a close
// over unread input would reset the connection and could take the last replies with it.
void end_in_good_order(int fd);
void set_nonblocking(int fd);
void set_close_on_exec(int fd);
// Small replies leave at once instead of waiting for the acknowledgement of the previous one. No
// effect on other than TCP sockets.
void set_no_delay(int fd);
// Has the kernel ask a peer that has been silent for a minute whether it is still there, and break
// the connection when three such questions, 10 s apart, find no answer. The same.
void set_keep_alive(int fd);

// Raises this process's limit of open descriptors as far as it may go; the limit then in force.
std::size_t raise_descriptor_limit();
// Makes the kernel's table of descriptors large enough for `count` of them, as far as the limit
// allows. Before the first thread: once a process has threads, each growth of the table waits for
// an RCU grace period (expand_fdtable() in the kernel's fs/file.c), some milliseconds in which the
// loop would stand still. Standard input must be open (see fill_standard_descriptors()).
void reserve_descriptors(std::size_t count);

}  // namespace pool_server
