#pragma once

#include <memory>
#include <vector>

#include "core/stats.h"
#include "loop/event_loop.h"
#include "loop/timers.h"
#include "monitor/agent.h"
#include "monitor/monitor.h"
#include "server/overview.h"
#include "sys/socket_address.h"

namespace pool_server {

// Those who tell others how the server fares. What keeps one of them from being there is logged,
// and keeps nothing else. Loop thread only.
class Reporting {
 public:
  Reporting(EventLoop& loop, Timers& timers, Counters& counters,
            std::unique_ptr<Overview> overview);

  void start_monitor(std::vector<ListeningSocket> sockets, const HttpModule& http);
  // `counters` have what an agent in the process before this one knew.
  void start_agent(std::vector<ListeningSocket> sockets);
  bool tells_balancers() const { return agent_ != nullptr; }
  // The loop has ended. With a successor, what the agent knows goes to it by the counters, and who
  // waits in its backlog stays there.
  void end(bool successor);

 private:
  EventLoop& loop_;
  Timers& timers_;
  Counters& counters_;
  const std::unique_ptr<Overview> overview_;
  std::unique_ptr<Monitor> monitor_;  // null: there is none
  std::unique_ptr<Agent> agent_;      // the same
};

}  // namespace pool_server
