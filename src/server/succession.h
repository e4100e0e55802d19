#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/stats.h"
#include "net/connection_table.h"
#include "server/clients.h"
#include "server/handover.h"
#include "server/pool_watch.h"
#include "sys/unique_fd.h"

namespace pool_server {

// What one process of the service leaves to the next, and takes over from the one before. Loop
// thread only.
class Succession {
 public:
  Succession(ConnectionTable& connections, Clients& clients, PoolWatch& watch, Counters& counters);

  // Takes up what an earlier process left in these channels. What cannot be used costs the
  // connection it belongs to, and is told. Until settle(), whatever throws, or if the process dies,
  // all is with the manager as it was, for the next start.
  void inherit(std::vector<UniqueFd> channels);
  // The last step of the start: the clients are this process's, and nobody finds them with the
  // manager any more.
  void settle() noexcept;

  // At the begin of a drain: is there someone to leave the connections to?
  bool prepare();
  bool prepared() const { return handover_.has_value(); }
  // At its end: leaves what is still open to the next process. Those that cannot be left are ended
  // in good order. False: one of those was owed something.
  bool hand_over();

 private:
  void take_over(int channel);
  std::vector<std::uint64_t> totals() const;
  bool write_down(Connection& connection, std::span<RunPtr> undone);

  ConnectionTable& connections_;
  Clients& clients_;
  PoolWatch& watch_;
  Counters& counters_;
  std::vector<UniqueFd> inherited_;  // channels, until it is settled
  std::optional<Handover> handover_;
};

}  // namespace pool_server
