#include "server/server.h"

#include <algorithm>
#include <utility>

#include "handlers/registry.h"
#include "server/log.h"
#include "server/reload.h"
#include "sys/clock.h"
#include "sys/service_manager.h"

namespace pool_server {

namespace {

// At a stop, tasks that were given up long ago have this long to come back.
constexpr TimeUs kLastChance = 1'000'000;

}  // namespace

Server::Server(Options options, StartingSockets sockets, SignalFd& signals,
               std::function<CommandLine()> read_options)
    : options_(std::move(options)),
      loop_(timers_, *this),
      handler_(load_handler(options_)),
      pool_(
          options_.min_workers, options_.queue_capacity, [this] { return handler_->make(); },
          completions_),
      router_(connections_, counters_, recycler_, [this] { return format_stats(view()); }),
      admission_(pool_, connections_, recycler_, counters_),
      clients_(options_, loop_, timers_, connections_, admission_, router_, counters_),
      watch_(options_, pool_, completions_, connections_, admission_, router_, counters_),
      succession_(connections_, clients_, watch_, counters_),
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
  clients_.listen(std::move(sockets.listeners));
  // Last, when little can fail any more. Those who waited come before newcomers all the same, as
  // nobody is let in before the loop turns.
  succession_.inherit(std::move(sockets.handovers));
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
  const bool all_kept = !succession_.prepared() || succession_.hand_over();
  if (!drain_.cut_short()) {
    pool_.shutdown();
    log::write(LogLevel::kInfo, "stopped", {},
               fmt::format("stopped after {} tasks", counters_.completed));
    return {.exit_status = all_kept ? 0 : kExitFailure};
  }
  watch_.report_abandoned_work();
  log::write(LogLevel::kWarning, "stopped", {},
             fmt::format("stopped with {} tasks not done and {} connections open",
                         admission_.outstanding(), connections_.open()));
  if (watch_.pool_is_stuck()) service_manager::notify("WATCHDOG=trigger");
  // Carried over, nothing is lost but what a stuck worker had been given up with before.
  const bool all_carried = succession_.prepared() && all_kept &&
                           admission_.outstanding() == admission_.awaited();
  return {.exit_status = all_carried ? 0 : kExitFailure, .workers_busy = true};
}

// The order matters: tasks reach the workers before the loop spends time on sending, and the look
// for completions comes last, so that a worker needs to wake the loop only when it really sleeps.
TimeUs Server::end_of_round(TimeUs now) {
  drain_.begin_if_asked();
  admission_.resume_waiting();
  bool submitted = admission_.submit(now);
  clients_.settle();
  submitted |= admission_.submit(now);  // settling may have admitted more
  clients_.reap();
  if (std::exchange(reload_requested_, false)) reload();
  const TimeUs next_inspection = watch_.inspect(now, submitted);
  housekeeping_.tick(now);
  const bool came_back = watch_.collect(now);
  // A restart is the only way on, if there is someone to ask for one.
  if (watch_.pool_is_stuck() && service_manager::is_listening()) drain_.stop_now();
  if (drain_.draining()) drain(now);
  if (came_back) return 0;
  return next_inspection == kNever ? kNever : std::max<TimeUs>(next_inspection - now, 0);
}

void Server::on_events(std::uint32_t) {
  completions_.event().clear();
}

void Server::begin_drain() {
  service_manager::notify("STOPPING=1");
  clients_.begin_drain(/*carry=*/options_.preserve_connections && succession_.prepare());
}

void Server::drain(TimeUs now) {
  const bool awaited =
      admission_.awaited() > 0 ||
      (succession_.prepared() ? !clients_.ready_to_carry() : connections_.open() > 0);
  if (!awaited) drain_.hasten(now + kLastChance);
  drain_.tick(awaited || admission_.outstanding() > 0);
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
    admission_.forget_room();
    clients_.reconfigure();
    log::write(LogLevel::kInfo, "reloaded", {}, "configuration reloaded");
  }
  service_manager::notify("READY=1");  // whatever came of it, the manager waits for this
}

void Server::configure_queue() {
  pool_.queue().set_capacity(options_.queue_capacity);
  pool_.queue().set_wait_limits(options_.queue_timeout, options_.queue_target);
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
