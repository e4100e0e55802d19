#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/agent_report.h"
#include "core/server_state.h"
#include "loop/event_loop.h"
#include "loop/timers.h"
#include "monitor/door.h"
#include "sys/socket_address.h"
#include "sys/unique_fd.h"

namespace pool_server {

// Where the agent's numbers come from. Loop thread only.
class AgentSource {
 public:
  virtual AgentReport::Sample agent_sample() = 0;  // allocates, and looks at all workers
  virtual ServerState::Phase phase() = 0;
  virtual std::string_view hopeless() = 0;  // why_no_progress; as agent_sample()
  // The agent has something to tell the operator.
  virtual void on_agent_trouble(const std::string& what) = 0;

 protected:
  ~AgentSource() = default;
};

// Tells balancers how much work to send here (HAProxy's agent-check): who connects gets one line,
// and the end. However many ask, the server is looked at once in kStep for what it can do, and once
// in kFresh for whether it can do anything. As with the monitor, nothing that visitors do is felt
// by clients. Loop thread only.
class Agent final : private DoorHost {
 public:
  static constexpr std::size_t kMostVisitors = 16;
  static constexpr TimeUs kStep = 1'000'000;
  static constexpr TimeUs kFresh = 50'000;

  // Throws what EventLoop::add throws, or std::bad_alloc.
  Agent(EventLoop& loop, Timers& timers, std::vector<ListeningSocket> sockets, AgentSource& source,
        const AgentReport::Memory& before);
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;
  ~Agent();

  AgentReport::Memory memory() const { return report_.memory(); }
  // The server has ended, and this process does: whoever waits is told. The loop is not needed.
  void say_stopped();

 private:
  // Who has been told, until it leaves. What it may send (agent-send) and how late, it is not to be
  // reset by it, which could take the line from it.
  struct Visitor final : EventSource {
    void on_events(std::uint32_t events) override;

    Agent* agent = nullptr;
    UniqueFd socket;
    TimeUs since = 0;
    std::size_t received = 0;  // bytes
  };

  // DoorHost
  void on_visitor(UniqueFd socket) override;
  void on_trouble(const std::string& what) override { source_.on_agent_trouble(what); }

  std::string line();
  void let_stay(UniqueFd socket);
  void show_out(Visitor& visitor);
  void look_for_the_slow(TimeUs now);
  void look(TimeUs now);

  EventLoop& loop_;
  Timers& timers_;
  AgentSource& source_;
  AgentReport report_;
  std::string_view hopeless_;
  TimeUs fresh_until_ = 0;
  bool stopped_ = false;
  // As long as this, so that one who is gone may still be among a round's events.
  std::array<Visitor, kMostVisitors> visitors_;
  std::size_t next_ = 0;  // of them to be taken: who came first is there, or nobody
  // Always armed, if need be for never: then to move one takes no memory.
  CallbackTimer slow_;  // somebody's time is over
  CallbackTimer step_;
  Door door_;
};

}  // namespace pool_server
