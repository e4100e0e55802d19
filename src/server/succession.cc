#include "server/succession.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <iterator>
#include <new>
#include <span>
#include <string>
#include <utility>

#include "server/inheritance.h"
#include "server/log.h"
#include "sys/memory.h"
#include "sys/process_usage.h"
#include "sys/service_manager.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

// What is let go in between is given back to the system, or the snapshot would come on top of it.
constexpr std::size_t kTrimAfter = 16 << 20;  // bytes

// In good order: its client sees the end.
void end(Connection& connection) {
  end_in_good_order(connection.descriptor());
  connection.close(/*broken=*/false);
}

}  // namespace

Succession::Succession(ConnectionTable& connections, Clients& clients, PoolWatch& watch,
                       Counters& counters)
    : connections_(connections), clients_(clients), watch_(watch), counters_(counters) {}

void Succession::inherit(std::vector<UniqueFd> channels) {
  inherited_ = std::move(channels);
  try {
    for (const UniqueFd& channel : inherited_) take_over(channel.get());
  } catch (...) {
    clients_.forget_all();  // the manager has them still, and the next start may do better
    throw;
  }
}

void Succession::settle() noexcept {
  if (inherited_.empty()) return;
  for (const UniqueFd& channel : inherited_) Inheritance::settle(channel.get());
  inherited_.clear();
  // The manager has nothing but empty channels now: they do no harm should it not hear of this.
  try {
    service_manager::remove_stored_fds(Handover::kName);
  } catch (const std::bad_alloc&) {
  }
}

void Succession::take_over(int channel) {
  Inheritance inheritance(channel);
  restore_totals(inheritance.totals(), counters_);
  std::size_t restored = 0;
  std::size_t failed = 0;
  std::string first_failure;
  while (auto connection = inheritance.next()) {
    try {
      clients_.restore(std::move(connection->socket), std::move(connection->state));
      ++restored;
    } catch (const std::exception& error) {
      if (failed++ == 0) first_failure = error.what();
    }
  }
  if (const std::string fault = inheritance.fault(); !fault.empty()) {
    log::write(LogLevel::kError, "restore-failed", {},
               fmt::format("the snapshot of the last process cannot be used, {}: closed its {} "
                           "connections",
                           fault, inheritance.unknown()));
    counters_.lost += inheritance.unknown();
    return;
  }
  ++counters_.restarts;
  counters_.lost += failed + inheritance.senseless() + inheritance.missing();
  if (failed > 0) {
    log::write(LogLevel::kError, "restore-failed", {},
               fmt::format("closed {} connections of the last process that could not be set up, "
                           "the first for: {}",
                           failed, first_failure));
  }
  if (inheritance.senseless() > 0) {
    log::write(LogLevel::kError, "restore-failed", {},
               fmt::format("closed {} connections of the last process: what its snapshot tells of "
                           "them makes no sense",
                           inheritance.senseless()));
  }
  if (inheritance.missing() > 0) {
    const std::string missing = std::to_string(inheritance.missing());
    log::write(LogLevel::kWarning, "restore-incomplete", {{"POOL_SERVER_CONNECTIONS", missing}},
               fmt::format("{} connections of the last process were lost: no descriptors for them",
                           missing));
  }
  if (inheritance.unknown() > inheritance.senseless()) {
    log::write(LogLevel::kWarning, "restore-incomplete", {},
               fmt::format("closed {} descriptors of which the last process tells nothing",
                           inheritance.unknown() - inheritance.senseless()));
  }
  counters_.carried += restored;
  const std::string count = std::to_string(restored);
  log::write(LogLevel::kInfo, "restored", {{"POOL_SERVER_CONNECTIONS", count}},
             fmt::format("restored {} connections", count));
}

bool Succession::prepare() {
  handover_ = Handover::offer();
  return prepared();
}

bool Succession::hand_over() {
  std::vector<RunPtr> undone = once_there_is_memory([this] { return watch_.take_undone_work(); });
  const std::size_t requests = tasks_in(undone);
  std::erase_if(
      undone, [this](const RunPtr& run) { return connections_.find(run->connection) == nullptr; });
  // As the connections come below, each one's in their order.
  std::ranges::stable_sort(undone, {}, [](const RunPtr& run) { return run->connection.slot; });
  auto next = undone.begin();
  std::vector<Connection*> carried;
  std::vector<bool> owed;  // for each of `carried`
  // Here, what all need: for want of it nobody would be handed over.
  once_there_is_memory([&] {
    handover_->begin(totals(), connections_.slots());
    carried.reserve(connections_.slots());
    owed.reserve(connections_.slots());
  });
  std::size_t left_out = 0;
  std::size_t let_go = 0;  // bytes
  bool all_kept = true;
  connections_.for_each([&](Connection& connection) {
    if (!connection.to_be_carried()) return;
    const auto slot = connection.id().slot;
    next = std::find_if(next, undone.end(),
                        [slot](const auto& task) { return task->connection.slot >= slot; });
    const auto first = next;
    next = std::find_if(next, undone.end(),
                        [slot](const auto& task) { return task->connection.slot != slot; });
    const bool is_owed = connection.is_owed();
    let_go += connection.writer().bytes_owed();
    if (write_down(connection, {first, next})) {
      carried.push_back(&connection);
      owed.push_back(is_owed);
    } else {
      end(connection);
      ++left_out;
      all_kept = all_kept && !is_owed;
    }
    if (let_go < kTrimAfter) return;
    let_go = 0;
    release_free_memory();
  });
  const std::vector<bool> sent = handover_->send();
  for (std::size_t i = 0; i < carried.size(); ++i) {
    if (sent[i]) {
      carried[i]->close(/*broken=*/false);  // it stays open elsewhere
    } else {
      end(*carried[i]);
      ++left_out;
      all_kept = all_kept && !owed[i];
    }
  }
  log::attempt([&] {
    if (!handover_->fault().empty()) {
      log::write(LogLevel::kError, "handover-failed", {},
                 fmt::format("no connection can be handed over: {}", handover_->fault()));
    }
    const std::string count = std::to_string(std::ranges::count(sent, true));
    log::write(
        LogLevel::kInfo, "handed-over", {{"POOL_SERVER_CONNECTIONS", count}},
        fmt::format("handed over {} connections with {} requests, closed {} that did not fit",
                    count, requests, left_out));
  });
  return all_kept;
}

std::vector<std::uint64_t> Succession::totals() const {
  Counters all = counters_;
  all.cpu_before += cpu_time();
  return totals_of(all);
}

// What it was owed is in the snapshot from now on, and nowhere else: nothing is held twice.
bool Succession::write_down(Connection& connection, std::span<RunPtr> undone) {
  try {
    std::vector<RunPtr> theirs(std::move_iterator(undone.begin()),
                               std::move_iterator(undone.end()));
    return handover_->add(connection.carry(std::move(theirs)), connection.descriptor());
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace pool_server
