#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "core/server_state.h"
#include "core/stats.h"
#include "monitor/agent.h"
#include "monitor/endpoints.h"
#include "net/connection_table.h"
#include "pool/thread_pool.h"
#include "server/children_watch.h"
#include "sys/process_usage.h"

namespace pool_server {

// What the monitor and the agent are told of the server, gathered when they ask and from what is
// known anyway. Loop thread only.
class Overview final : public MonitorSource, public AgentSource {
 public:
  // What only the server itself knows.
  struct Moment {
    StatsView stats;
    ServerState::Phase phase = ServerState::Phase::kServing;
    TimeUs now = 0;            // of the monotonic clock
    std::int64_t started = 0;  // Unix time in µs
  };

  // `children` may be null; what `moment` gives lives until this has been asked.
  Overview(const Options& options, ThreadPool& pool, ConnectionTable& connections,
           ChildrenWatch* children, Counters& counters, std::function<Moment()> moment);

  ServerState state() override;
  void on_trouble(const std::string& what) override;
  AgentReport::Sample agent_sample() override;
  ServerState::Phase phase() override { return moment_().phase; }
  std::string_view hopeless() override;
  void on_agent_trouble(const std::string& what) override;

 private:
  void look_at_workers(TimeUs now, ServerState& state);
  void look_at_clients(ServerState& state);
  void look_at_usage(TimeUs now);
  bool can_grow() const;
  bool no_worker_available() const;

  const Options& options_;
  ThreadPool& pool_;
  ConnectionTable& connections_;
  ChildrenWatch* const children_;
  Counters& counters_;
  const std::function<Moment()> moment_;
  const ResidentMemory memory_;
  TimeUs usage_due_ = 0;  // when these two are to be looked at again
  ServerState::Usage process_;
  std::optional<DescendantsUsage> programs_;
  std::vector<ConnectionId> greediest_;  // of those seen so far
  std::size_t next_slot_ = 0;            // to be looked at
};

}  // namespace pool_server
