#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/ids.h"
#include "core/snapshot.h"
#include "sys/fd_channel.h"
#include "sys/unique_fd.h"

namespace pool_server {

// Hands the open connections to the next process of this service by way of the service manager's
// descriptor store, which keeps what it is given over a restart and drops it at a stop.
//
// The manager gets one descriptor: an end of a socket pair. Queued inside that wait the others, by
// SCM_RIGHTS: first a sealed memfd with the snapshot, then the sockets in bunches. One descriptor
// for each connection would cost PID 1 time in the square of their number, and would meet limits of
// the store and of the environment that only the log of PID 1 tells of; here each send says at once
// whether it fitted. See sd_pid_notify_with_fds(3) and unix(7).
class Handover {
 public:
  // Sets up the channel. Nullopt: there is no manager, or it does not keep descriptors for us.
  static std::optional<Handover> offer();

  // Stores `connections`, as many as fit, from the first on: `sockets` are theirs, in the same
  // order. Returns how many. At most once.
  std::size_t store(std::vector<CarriedConnection> connections, const std::vector<int>& sockets,
                    std::vector<std::uint64_t> totals);

  // What an earlier process has left.
  struct Inheritance {
    std::vector<std::uint64_t> totals;
    std::vector<std::pair<UniqueFd, CarriedConnection>> connections;
    std::size_t missing = 0;  // connections of the snapshot that did not come along
    std::size_t unknown = 0;  // sockets that the snapshot does not tell about; closed
    std::string fault;        // why the snapshot could not be used; empty: it could
  };
  static Inheritance collect(UniqueFd channel);

  // The name of the stored descriptor.
  static const std::string kName;

 private:
  Handover(FdChannel channel, UniqueFd memfd)
      : channel_(std::move(channel)), memfd_(std::move(memfd)) {}

  FdChannel channel_;
  UniqueFd memfd_;
};

}  // namespace pool_server
