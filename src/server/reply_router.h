#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "core/run.h"
#include "core/stats.h"
#include "net/connection_table.h"
#include "pool/run_recycler.h"
#include "pool/worker.h"

namespace pool_server {

// Brings each answer to the client that asked, in the order of its requests, and counts what
// clients get to see. Loop thread only.
class ReplyRouter {
 public:
  ReplyRouter(ConnectionTable& connections, Counters& counters, RunRecycler& recycler,
              std::function<std::string()> render_stats);

  // A run has ended on a worker, or was shed.
  void deliver(RunPtr ended);
  // A task was given up: its client gets an error in its place, its own result will be dropped.
  void answer_overdue(const Worker::Running& task, std::string_view message);
  // The loop's own answers: they keep their place in the order like any other.
  void answer_error(Connection& connection, std::string_view message);
  void answer_carried(Connection& connection, const CarriedAnswer& answer);
  void answer_stats(Connection& connection);

  // End of round: tells the statistics to those whose STATS has its turn, so many at a time,
  // rendered once for all of them. They count every answer that the connection was given before
  // them, so a STATS behind a further error waits for the next round.
  void tell_stats();
  bool owes_stats() const { return !stats_due_.empty(); }

 private:
  void pass_on(RunPtr ended);
  void put(Connection& connection, RunPtr answer, std::size_t charge);
  void release(Connection& connection, const std::string* stats);

  ConnectionTable& connections_;
  Counters& counters_;
  RunRecycler& recycler_;
  std::function<std::string()> render_stats_;
  std::deque<ConnectionId> stats_due_;  // whose next answer is a STATS
};

}  // namespace pool_server
