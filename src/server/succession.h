#pragma once

#include <optional>
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

  // At the start: takes up what an earlier process left.
  void inherit(std::vector<UniqueFd> handovers);

  // At the begin of a drain: is there someone to leave the connections to?
  bool prepare();
  bool prepared() const { return handover_.has_value(); }
  // At its end: leaves what is still open to the next process.
  void hand_over();

 private:
  ConnectionTable& connections_;
  Clients& clients_;
  PoolWatch& watch_;
  Counters& counters_;
  std::optional<Handover> handover_;
};

}  // namespace pool_server
