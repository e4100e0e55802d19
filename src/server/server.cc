#include "server/server.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/protocol.h"
#include "handlers/registry.h"
#include "server/log.h"
#include "server/reload.h"
#include "sys/clock.h"
#include "sys/service_manager.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

// After handing out work, look after the workers this soon: the estimates may be wrong.
constexpr TimeUs kInspectSoon = 1'000;
// At a stop, tasks that were given up long ago have this long to come back.
constexpr TimeUs kLastChance = 1'000'000;
constexpr unsigned kTransitPause = 100;  // µs
constexpr int kTransitTries = 1'000;

}  // namespace

Server::Server(Options options, StartingSockets sockets, SignalFd& signals,
               std::function<CommandLine()> read_options)
    : options_(std::move(options)),
      loop_(timers_, *this),
      pool_(options_.min_workers, options_.queue_capacity, find_handler(options_.handler),
            completions_),
      router_(connections_, counters_, recycler_, [this] { return format_stats(view()); }),
      admission_(options_, pool_, connections_, recycler_, counters_),
      clients_(options_, loop_, timers_, connections_, admission_, router_, counters_),
      housekeeping_(options_, timers_, pool_, admission_, [this] { return view(); }),
      drain_(
          options_, signals, loop_, timers_, [this] { begin_drain(); },
          [this] { reload_requested_ = true; }),
      read_options_(std::move(read_options)),
      started_at_(monotonic_now()) {
  if (!pool_.start_failure().empty()) {
    log::write(LogLevel::kWarning, "worker-start-failed", {},
               fmt::format("started {} of {} workers: {}", pool_.size(), options_.min_workers,
                           pool_.start_failure()));
  }
  configure_queue();
  loop_.add(completions_.event().fd(), EPOLLIN, *this);
  inherit(std::move(sockets.handovers));  // those who waited come before newcomers
  clients_.listen(std::move(sockets.listeners));
}

Server::~Server() {
  loop_.remove(completions_.event().fd());
}

Server::End Server::run() {
  log::write(LogLevel::kInfo, "started", {},
             fmt::format("pool-server " POOL_SERVER_VERSION " serves '{}' with {} workers",
                         options_.handler, pool_.size()));
  service_manager::notify("READY=1");
  housekeeping_.start(loop_.now());
  loop_.run();
  if (handover_) hand_over();
  if (!drain_.cut_short()) {
    pool_.shutdown();
    log::write(LogLevel::kInfo, "stopped", {},
               fmt::format("stopped after {} tasks", counters_.completed));
    return {};
  }
  report_abandoned_work();
  if (pool_stuck_) service_manager::notify("WATCHDOG=trigger");
  // Carried over, nothing is lost but what a stuck worker had been given up with before.
  const bool all_carried = handover_ && admission_.outstanding() == admission_.awaited();
  return {.exit_status = all_carried ? 0 : kExitFailure, .workers_busy = true};
}

// The order matters: tasks reach the workers before the loop spends time on sending, and the look
// for completions comes last, so that a worker needs to wake the loop only when it really sleeps.
TimeUs Server::end_of_round(TimeUs now) {
  admission_.resume_waiting();
  bool submitted = admission_.submit(now);
  clients_.settle();
  submitted |= admission_.submit(now);  // settling may have admitted more
  clients_.reap();
  if (std::exchange(reload_requested_, false)) reload();
  const TimeUs next_inspection = inspect_pool(now, submitted);
  housekeeping_.tick(now);
  const bool came_back = completions_.take_or_sleep(ended_);
  collect(ended_);
  if (drain_.draining()) drain(now);
  if (came_back) return 0;
  return next_inspection == kNever ? kNever : std::max<TimeUs>(next_inspection - now, 0);
}

void Server::on_events(std::uint32_t) {
  completions_.event().clear();
}

void Server::collect(std::vector<TaskPtr>& ended) {
  for (TaskPtr& task : ended) {
    if (log::enabled(LogLevel::kDebug)) {
      const Connection* connection = connections_.find(task->connection);
      const std::string client =
          connection == nullptr ? "(gone)" : std::to_string(connection->serial());
      const std::string worker = Worker::name(task->worker);
      const std::string us = std::to_string(task->ended_at - task->begun_at);
      log::write_for_thread(
          worker, LogLevel::kDebug, "computed",
          {{"TASK", std::to_string(task->number)},
           {"WORKER", worker},
           {"WAIT_USEC", std::to_string(task->begun_at - task->accepted_at)},
           {"RUN_USEC", us}},
          fmt::format("computed task {} of connection {} in {} us", task->number, client, us));
    }
    admission_.on_ended(*task);
    if (task->answered) pool_.came_back(task->worker);
    router_.deliver(std::move(task));
  }
  ended.clear();
}

TimeUs Server::inspect_pool(TimeUs now, bool submitted) {
  if (submitted) inspect_at_ = std::min(inspect_at_, now + kInspectSoon);
  if (admission_.outstanding() == 0) inspect_at_ = kNever;
  if (now < inspect_at_) return inspect_at_;
  const unsigned max_stuck = options_.max_stuck_workers == Options::kAsWorkers
                                 ? options_.max_workers
                                 : options_.max_stuck_workers;
  pool_.inspect(now, {.task_timeout = options_.task_timeout, .max_stuck = max_stuck},
                admission_.outstanding(), inspection_);
  inspect_at_ = inspection_.look_again_at;
  const std::string message = protocol::timed_out(options_.task_timeout);
  for (const Worker::Running& task : inspection_.overdue) {
    log::write(LogLevel::kWarning, "task-timeout",
               {{"TASK", std::to_string(task.number)},
                {"WORKER", Worker::name(task.worker)},
                {"WAIT_USEC", std::to_string(task.waited)},
                {"RUN_USEC", std::to_string(now - task.begun_at)}},
               fmt::format("task {} on {} {}", task.number, Worker::name(task.worker), message));
    admission_.on_overdue();
    router_.answer_overdue(task, message);
  }
  inspection_.overdue.clear();
  report_stuck_workers();
  const bool answered = !inspection_.ended.empty();
  collect(inspection_.ended);
  return answered ? now : inspect_at_;
}

void Server::report_stuck_workers() {
  for (const Worker::Running& task : inspection_.stuck) {
    ++counters_.quarantined;
    log::write(LogLevel::kError, "worker-stuck",
               {{"TASK", std::to_string(task.number)}, {"WORKER", Worker::name(task.worker)}},
               fmt::format("{} does not come back from task {}: replaced, {} such",
                           Worker::name(task.worker), task.number, pool_.stuck()));
  }
  inspection_.stuck.clear();
  if (inspection_.no_progress_possible && !std::exchange(pool_stuck_, true)) {
    log::write(LogLevel::kError, "pool-stuck", {},
               "no worker can make progress any more: asking for a restart");
    drain_.stop_now();  // hands over what is open, as a restart is the only way on
  }
}

void Server::begin_drain() {
  service_manager::notify("STOPPING=1");
  if (options_.preserve_connections) handover_ = Handover::offer();
  clients_.begin_drain(/*carry=*/handover_.has_value());
}

void Server::drain(TimeUs now) {
  const bool awaited = admission_.awaited() > 0 ||
                       (handover_ ? !clients_.ready_to_carry() : connections_.open() > 0);
  if (!awaited) drain_.hasten(now + kLastChance);
  drain_.tick(awaited || admission_.outstanding() > 0);
}

void Server::inherit(std::vector<UniqueFd> handovers) {
  if (handovers.empty()) return;
  for (UniqueFd& channel : handovers) {
    Handover::Inheritance inheritance = Handover::collect(std::move(channel));
    restore_totals(inheritance.totals, counters_);
    for (auto& [socket, state] : inheritance.connections) {
      clients_.restore(std::move(socket), std::move(state));
    }
    if (!inheritance.fault.empty()) {
      log::write(LogLevel::kError, "restore-failed", {},
                 fmt::format("the snapshot of the last process cannot be used, {}: {} connections "
                             "closed",
                             inheritance.fault, inheritance.unknown));
      continue;
    }
    const std::string count = std::to_string(inheritance.connections.size());
    log::write(LogLevel::kInfo, "restored", {{"CONNECTIONS", count}},
               fmt::format("restored {} connections", count));
  }
  service_manager::remove_stored_fds(Handover::kName);
}

void Server::hand_over() {
  const std::vector<TaskPtr> undone = take_undone_work();
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
  log::write(LogLevel::kInfo, "handed-over", {{"CONNECTIONS", std::to_string(stored)}},
             fmt::format("handed over {} connections with {} requests, closed {} that did not fit",
                         stored, undone.size(), carried.size() - stored));
}

// Everything that clients still wait for. Tasks are in transit between queue and workers for some
// microseconds, in which nobody can take them: look until all are accounted for.
std::vector<TaskPtr> Server::take_undone_work() {
  std::vector<TaskPtr> undone;
  for (int tries = 0; tries < kTransitTries; ++tries) {
    pool_.surrender(ended_, undone);
    collect(ended_);
    completions_.take_or_sleep(ended_);
    collect(ended_);
    if (undone.size() + pool_.running().size() >= admission_.outstanding()) break;
    ::usleep(kTransitPause);
  }
  pool_.copy_running(undone);
  completions_.take_or_sleep(ended_);  // what ended after it was copied counts as ended
  collect(ended_);
  return undone;
}

// Between two rounds, when nothing is staged that was admitted under the old limits.
void Server::reload() {
  service_manager::notify_reloading();
  const CommandLine wanted = read_options_();
  if (wanted.exit_status) {
    for (const std::string& fault : wanted.faults) {
      log::write(LogLevel::kError, "reload-failed", {},
                 fmt::format("configuration not changed: {}", fault));
    }
  } else {
    apply_reloadable(wanted.options, options_);
    log::set_level(options_.log_level);
    configure_queue();
    housekeeping_.reconfigure();
    admission_.reconfigure();
    clients_.reconfigure();
    log::write(LogLevel::kInfo, "reloaded", {}, "configuration reloaded");
  }
  service_manager::notify("READY=1");  // whatever came of it, the manager waits for this
}

void Server::configure_queue() {
  pool_.queue().set_capacity(options_.queue_capacity);
  pool_.queue().set_wait_limits(options_.queue_timeout, options_.queue_target);
}

void Server::report_abandoned_work() {
  pool_.cancel_all();
  for (const Worker::Running& task : pool_.running()) {
    log::write(LogLevel::kWarning, "abandoned",
               {{"TASK", std::to_string(task.number)}, {"WORKER", Worker::name(task.worker)}},
               fmt::format("gave up task {} on {}", task.number, Worker::name(task.worker)));
  }
  log::write(LogLevel::kWarning, "stopped", {},
             fmt::format("stopped with {} tasks not done and {} connections open",
                         admission_.outstanding(), connections_.open()));
}

StatsView Server::view() {
  const TaskQueue::Level level = pool_.queue().level();
  StatsView view{.counters = counters_};
  view.uptime = loop_.now() - started_at_;
  view.connections = clients_.served();
  view.workers = pool_.size();
  view.stuck_workers = pool_.stuck();
  view.queue_depth = level.depth + admission_.staged();
  view.queue_capacity = options_.queue_capacity;
  // Batches are popped ahead of being run, hence the bound.
  view.active_workers = std::min<std::size_t>(
      admission_.outstanding() -
          std::min(admission_.outstanding(), view.queue_depth + view.stuck_workers),
      view.workers);
  return view;
}

}  // namespace pool_server
