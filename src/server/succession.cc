#include "server/succession.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "server/log.h"
#include "sys/service_manager.h"
#include "sys/socket.h"

namespace pool_server {

Succession::Succession(ConnectionTable& connections, Clients& clients, PoolWatch& watch,
                       Counters& counters)
    : connections_(connections), clients_(clients), watch_(watch), counters_(counters) {}

void Succession::inherit(std::vector<UniqueFd> handovers) {
  if (handovers.empty()) return;
  for (UniqueFd& channel : handovers) {
    Handover::Inheritance inheritance = Handover::collect(std::move(channel));
    if (!inheritance.fault.empty()) {
      log::write(LogLevel::kError, "restore-failed", {},
                 fmt::format("the snapshot of the last process cannot be used, {}: closed its {} "
                             "connections",
                             inheritance.fault, inheritance.unknown));
      continue;
    }
    restore_totals(inheritance.totals, counters_);
    for (auto& [socket, state] : inheritance.connections) {
      clients_.restore(std::move(socket), std::move(state));
    }
    if (inheritance.missing > 0) {
      const std::string missing = std::to_string(inheritance.missing);
      log::write(
          LogLevel::kWarning, "restore-incomplete", {{"POOL_SERVER_CONNECTIONS", missing}},
          fmt::format("{} connections of the last process were lost: no descriptors for them",
                      missing));
    }
    const std::string count = std::to_string(inheritance.connections.size());
    log::write(LogLevel::kInfo, "restored", {{"POOL_SERVER_CONNECTIONS", count}},
               fmt::format("restored {} connections", count));
  }
  // At once: as long as the manager has a duplicate, no client sees our close.
  service_manager::remove_stored_fds(Handover::kName);
}

bool Succession::prepare() {
  handover_ = Handover::offer();
  return prepared();
}

void Succession::hand_over() {
  const std::vector<TaskPtr> undone = watch_.take_undone_work();
  std::map<std::uint32_t, std::vector<const Task*>> undone_of_slot;
  for (const TaskPtr& task : undone) {
    if (connections_.find(task->connection) == nullptr) continue;
    undone_of_slot[task->connection.slot].push_back(task.get());
  }
  std::vector<CarriedConnection> states;
  std::vector<Connection*> carried;
  std::vector<int> sockets;
  connections_.for_each([&](Connection& connection) {
    if (!connection.to_be_carried()) return;
    states.push_back(connection.carry(std::move(undone_of_slot[connection.id().slot])));
    carried.push_back(&connection);
    sockets.push_back(connection.descriptor());
  });
  const std::size_t stored = handover_->store(std::move(states), sockets, totals_of(counters_));
  for (std::size_t i = 0; i < carried.size(); ++i) {
    // Stored ones stay open elsewhere; the others get an end in good order.
    if (i >= stored) shut_down_sending(sockets[i]);
    carried[i]->close(/*broken=*/false);
  }
  log::write(LogLevel::kInfo, "handed-over", {{"POOL_SERVER_CONNECTIONS", std::to_string(stored)}},
             fmt::format("handed over {} connections with {} requests, closed {} that did not fit",
                         stored, undone.size(), carried.size() - stored));
}

}  // namespace pool_server
