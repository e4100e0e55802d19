#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/snapshot_codec.h"
#include "server/memfd_snapshot.h"
#include "sys/fd_channel.h"
#include "sys/unique_fd.h"

namespace pool_server {

// Hands the open connections to the next process of this service by way of the service manager's
// descriptor store, which keeps what it is given over a restart and drops it at a stop. The other
// side is server/inheritance.h.
//
// The manager gets one descriptor: an end of a socket pair. Queued inside that wait the others, by
// SCM_RIGHTS: first a memfd with the snapshot, sealed before anything follows; then the sockets in
// bunches; last, a note of how many these were, as the snapshot may tell of more. One descriptor
// for each connection would cost PID 1 time in the square of their number, and would meet limits of
// the store and of the environment that only the log of PID 1 tells of; here each send says at once
// whether it fitted. See sd_pid_notify_with_fds(3) and unix(7).
//
// Whatever cannot be written or sent costs the connection it belongs to, and no other.
class Handover {
 public:
  // Sets up the channel. Nullopt: there is no manager, or it does not keep descriptors for us.
  static std::optional<Handover> offer();

  // Before the first add(), of which there are `most` at the most. Throws std::bad_alloc, and can
  // be tried again then.
  void begin(const std::vector<std::uint64_t>& totals, std::size_t most);
  // Writes down the state of a connection, which is not needed any more afterwards. `socket` stays
  // the caller's, to be open until send(). False: it could not be written, and is left out.
  bool add(const CarriedConnection& state, int socket);
  // Seals the snapshot and sends the sockets. Which of those added are handed over, in that order.
  // If none can be, the manager is asked to drop the channel, and fault() says why.
  std::vector<bool> send();
  const std::string& fault() const { return fault_; }

  // The name of the stored descriptor.
  static const std::string kName;
  // Begins the note with the number of sockets, in decimal.
  static constexpr std::string_view kSentNote = "sent ";

 private:
  Handover(FdChannel channel, UniqueFd memfd);
  bool complete();

  FdChannel channel_;
  UniqueFd memfd_;
  std::unique_ptr<MemfdSnapshot> file_;  // a SnapshotWriter refers to it
  std::unique_ptr<SnapshotWriter> snapshot_;
  std::vector<int> sockets_;
  std::string fault_;
};

// Sends `fds` in bunches of at most `most`: one that is refused is tried again in smaller ones, so
// that a descriptor that cannot be sent costs no other. Which could be.
std::vector<bool> send_all(std::span<const int> fds, std::size_t most,
                           const std::function<bool(std::span<const int>)>& send);

}  // namespace pool_server
