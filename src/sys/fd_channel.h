#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "sys/unique_fd.h"

namespace pool_server {

// A socket pair in which descriptors wait for whoever reads the other end, even after the sender
// has gone. Nothing here blocks.
struct FdChannel {
  UniqueFd in;   // send_fds() here
  UniqueFd out;  // receive_fds() here

  static FdChannel make();  // throws std::system_error
};

// SCM_MAX_FD of the kernel: more do not go into one message.
inline constexpr std::size_t kMaxFdsPerMessage = 253;

// Queues duplicates of `fds` as one message. False: there is no room (descriptors in flight,
// RLIMIT_NOFILE; the socket's buffer) or nobody holds the other end.
bool send_fds(int channel, std::span<const int> fds);

// The descriptors of the next message, close-on-exec; nullopt: there is none.
std::optional<std::vector<UniqueFd>> receive_fds(int channel);

}  // namespace pool_server
