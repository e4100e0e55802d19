#pragma once

#include <sys/socket.h>

#include <span>
#include <vector>

#include "sys/unique_fd.h"

// Descriptors that travel with a message of a unix socket (SCM_RIGHTS).
namespace pool_server {

// Puts `fds`, of which there is at least one, into the control buffer that `message` has. That is
// large enough for them, and aligned and zeroed.
void attach_fds(msghdr& message, std::span<const int> fds);

// Moves those that came with `message` to the end of `fds`, which has room reserved for them: while
// they have no owner, nothing may throw.
void take_fds(msghdr& message, std::vector<UniqueFd>& fds);

}  // namespace pool_server
