#include "server/reporting.h"

#include <exception>
#include <string>
#include <utility>

#include "server/log.h"

namespace pool_server {

namespace {

std::string names_of(const std::vector<ListeningSocket>& sockets) {
  std::string names;
  for (const ListeningSocket& socket : sockets) {
    names.append(names.empty() ? "" : ", ").append(socket.name);
  }
  return names;
}

void tell_of_failure(log::Event event, const char* what, const std::exception& error) {
  log::attempt([&] {
    log::write(LogLevel::kError, event, {}, fmt::format("there is no {}: {}", what, error.what()));
  });
}

}  // namespace

Reporting::Reporting(EventLoop& loop, Timers& timers, Counters& counters,
                     std::unique_ptr<Overview> overview)
    : loop_(loop), timers_(timers), counters_(counters), overview_(std::move(overview)) {}

void Reporting::start_monitor(std::vector<ListeningSocket> sockets, const HttpModule& http) {
  try {
    const std::string names = names_of(sockets);
    monitor_ = std::make_unique<Monitor>(loop_, timers_, std::move(sockets), http, *overview_);
    log::write(LogLevel::kInfo, "monitoring", {}, fmt::format("tells how it fares on {}", names));
  } catch (const std::exception& error) {
    tell_of_failure("monitor-failed", "monitor", error);
  }
}

void Reporting::start_agent(std::vector<ListeningSocket> sockets) {
  try {
    const std::string names = names_of(sockets);
    agent_ = std::make_unique<Agent>(
        loop_, timers_, std::move(sockets), *overview_,
        AgentReport::Memory{counters_.agent_best, counters_.agent_mean, counters_.agent_free});
    log::write(LogLevel::kInfo, "agent-listening", {},
               fmt::format("tells balancers how much to send on {}", names));
  } catch (const std::exception& error) {
    tell_of_failure("agent-failed", "agent", error);
  }
}

void Reporting::end(bool successor) {
  if (agent_ == nullptr) return;
  const AgentReport::Memory memory = agent_->memory();
  counters_.agent_best = memory.best;
  counters_.agent_mean = memory.mean;
  counters_.agent_free = memory.free;
  if (!successor) agent_->say_stopped();
}

}  // namespace pool_server
