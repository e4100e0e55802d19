#include "server/server.h"

#include <algorithm>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/protocol.h"
#include "handlers/registry.h"
#include "server/log.h"
#include "server/reload.h"
#include "sys/clock.h"
#include "sys/log_fd.h"
#include "sys/memory.h"
#include "sys/service_manager.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

// At a stop, tasks that were given up long ago have this long to come back.
constexpr TimeUs kLastChance = 1'000'000;
constexpr TimeUs kRetryWithoutMemory = 10'000;

// One line for all faults, as a file that is none has one in each of its lines.
void refuse_reload(const std::vector<std::string>& faults) {
  const std::string others =
      faults.size() > 1 ? fmt::format(" (and {} more faults)", faults.size() - 1) : std::string();
  log::write(LogLevel::kError, "reload-failed", {},
             fmt::format("configuration not changed: {}{}",
                         faults.empty() ? "out of memory" : faults.front(), others));
}

std::unique_ptr<HandlerModule> load(const Options& options, Nursery* nursery) {
  if (nursery == nullptr) return load_handler(options);
  return std::make_unique<ChildPool>(*nursery, options);
}

// Descriptors that must be had at the limit, too: a reload opens the configuration; a hand-over
// takes a socket pair, what waits in it, and a pipe to hear of the service manager (store_fd()).
std::size_t wanted_in_reserve() {
  return service_manager::is_listening() ? 8 : 1;
}

}  // namespace

Server::Server(Options options, StartingSockets sockets, SignalFd& signals,
               std::function<CommandLine()> read_options, Nursery* nursery, const HttpModule* http)
    : options_(std::move(options)),
      loop_(timers_, *this),
      longest_reply_(longest_reply_of(options_)),
      handler_(load(options_, nursery)),
      pool_(
          options_.min_workers, options_.queue_capacity, [this] { return handler_->make(); },
          completions_),
      router_(connections_, counters_, recycler_, [this] { return format_stats(view()); }),
      admission_(pool_, recycler_, counters_,
                 [this](std::size_t request) { return longest_reply_(request); }),
      clients_(options_, loop_, timers_, connections_, admission_, router_, counters_),
      watch_(options_, pool_, completions_, connections_, admission_, router_, counters_),
      succession_(connections_, clients_, watch_, counters_),
      housekeeping_(options_, timers_, pool_, admission_, [this] { return view(); }),
      drain_(signals, loop_, timers_, *this, service_manager::announces_stops()),
      read_options_(std::move(read_options)),
      started_at_(monotonic_now()),
      started_at_unix_(unix_now()) {
  counters_.served_since = static_cast<std::uint64_t>(started_at_unix_);
  if (!pool_.start_failure().empty()) {
    const std::string what =
        fmt::format("started {} of {} workers: ", pool_.size(), options_.min_workers);
    log::write(LogLevel::kWarning, "worker-start-failed", {},
               {what + pool_.start_failure(), what.size()});
  }
  if (nursery != nullptr) {
    children_ = std::make_unique<ChildrenWatch>(*nursery, static_cast<ChildPool&>(*handler_),
                                                options_, pool_, loop_, timers_, [this] {
                                                  nursery_gone_ = true;
                                                  drain_.begin_for_failure();
                                                });
  }
  configure_queue(pool_.queue().standing_waits(options_.queue_target));
  loop_.add(completions_.event().fd(), EPOLLIN, *this);
  clients_.listen(std::move(sockets.listeners));
  check_descriptors(sockets.handovers.size());
  // Those who waited come before newcomers all the same, as nobody is let in before the loop turns.
  succession_.inherit(std::move(sockets.handovers));
  start_reporting(sockets, http);
}

Server::~Server() {
  loop_.remove(completions_.event().fd());
}

Server::End Server::run() {
  try {
    return serve();
  } catch (const std::exception& error) {
    return fail(error.what());
  }
}

Server::End Server::fail(const char* reason) noexcept {
  try {
    log::write(LogLevel::kError, "failed", {}, fmt::format("cannot go on: {}", reason));
    watch_.report_abandoned_work();
  } catch (const std::exception&) {
    LogFd().write("pool-server: cannot go on: out of memory\n");
  }
  // What is queued or runs may take for ever, and nobody would hear of it.
  const bool busy = admission_.outstanding() > 0 || pool_.stuck() > 0;
  return {.exit_status = kExitFailure, .workers_busy = busy};
}

Server::End Server::serve() {
  log::write(
      LogLevel::kInfo, "started", {},
      fmt::format("pool-server " POOL_SERVER_VERSION " serves '{}' with {} workers",
                  options_.program.empty() ? options_.handler : options_.program, pool_.size()));
  housekeeping_.start(loop_.now());
  // Until here a start that fails leaves all to the next one. What follows can wait for memory.
  succession_.settle();
  reserve_.hold(wanted_in_reserve());
  once_there_is_memory([] { service_manager::notify("READY=1"); });
  loop_.run();
  if (reporting_ != nullptr) reporting_->end(/*successor=*/succession_.prepared());
  reporting_.reset();  // with the files of its sockets, however this ends
  const bool all_kept = !succession_.prepared() || succession_.hand_over();
  // A stop may be cut short when nothing is left to do but to wait for clients that go on sending.
  const bool work_left =
      drain_.cut_short() &&
      (succession_.prepared() || admission_.outstanding() > 0 || clients_.debts().connections > 0);
  if (watch_.pool_is_stuck() || work_left) return end_cut_short(all_kept);
  pool_.shutdown();
  if (children_ != nullptr) children_->finish();
  log::attempt([this] {
    log::write(LogLevel::kInfo, "stopped", {},
               fmt::format("stopped after {} tasks", counters_.completed));
  });
  return {.exit_status = all_kept && !nursery_gone_ ? 0 : kExitFailure};
}

Server::End Server::end_cut_short(bool all_kept) {
  if (watch_.pool_is_stuck()) service_manager::notify("WATCHDOG=trigger");
  if (children_ != nullptr) children_->finish();
  // Carried over, nothing is lost but what a stuck worker had been given up with before.
  if (succession_.prepared() && all_kept && admission_.outstanding() == admission_.awaited()) {
    log::write(
        LogLevel::kInfo, "stopped", {},
        fmt::format("stopped after {} tasks, all else was handed over", counters_.completed));
    return {.exit_status = nursery_gone_ ? kExitFailure : 0, .workers_busy = true};
  }
  const Clients::Debts debts = clients_.debts();
  watch_.report_abandoned_work();
  log::write(
      LogLevel::kWarning, "stopped",
      {{"POOL_SERVER_CONNECTIONS", std::to_string(debts.connections)},
       {"POOL_SERVER_REPLIES", std::to_string(debts.replies)},
       {"POOL_SERVER_BYTES", std::to_string(debts.bytes)}},
      fmt::format("stopped with {} tasks not done; {} clients have not got all: {} bytes, and "
                  "{} replies that were not sent",
                  admission_.outstanding(), debts.connections, debts.bytes, debts.replies));
  return {.exit_status = kExitFailure, .workers_busy = true};
}

// Without memory for what concerns nobody alone, all goes on a little later: whatever a step has
// not done, the next round's finds where it was.
TimeUs Server::end_of_round(TimeUs now) {
  try {
    return finish_round(now);
  } catch (const std::bad_alloc&) {
    log::attempt([] {
      log::write(LogLevel::kWarning, "out-of-memory", {}, "out of memory, trying to go on");
    });
    // A stop is over in its time, whatever such rounds do not come to.
    if (drain_.draining()) drain_.tick(/*work_left=*/true);
    return kRetryWithoutMemory;
  }
}

// The order matters: tasks reach the workers before the loop spends time on sending, and the look
// for completions comes last, so that a worker needs to wake the loop only when it really sleeps.
TimeUs Server::finish_round(TimeUs now) {
  clients_.visit_readable();
  if (lame_duck_asked_) switch_lame_duck();
  drain_.begin_if_asked();
  clients_.give_turns();
  if (admission_.submit(now)) watch_.inspect_soon(now);
  router_.tell_stats();
  clients_.settle();
  clients_.reap();
  if (std::exchange(reload_requested_, false)) reload();
  const TimeUs next_inspection = watch_.inspect(now);
  housekeeping_.tick(now);
  const bool came_back = watch_.collect(now);
  // A restart is the only way on; whoever started the server hears of it by its exit status.
  if (watch_.pool_is_stuck()) drain_.stop_now();
  const TimeUs next_look = drain_.draining() ? drain(now) : kNever;
  const TimeUs again = std::min({next_inspection, next_look, housekeeping_.tell_rest(now)});
  if (came_back || clients_.has_work_left() || router_.owes_stats()) return 0;
  return again == kNever ? kNever : std::max<TimeUs>(again - now, 0);
}

void Server::on_events(std::uint32_t) {
  completions_.event().clear();
}

Server::Begun Server::begin_drain(Asked asked) {
  service_manager::notify("STOPPING=1");
  reserve_.release();
  const bool carry =
      asked != Asked::kStop && options_.preserve_connections && succession_.prepare();
  // All of a stop's work is done then, so that nothing is lost if it is one; if it is a restart,
  // clients stay connected all the same.
  delivers_first_ = carry && asked == Asked::kEither;
  clients_.begin_drain(!carry            ? Connection::Carry::kNo
                       : delivers_first_ ? Connection::Carry::kDelivered
                                         : Connection::Carry::kAsItIs);
  if (carry && !delivers_first_) {
    return {.time = std::min(options_.handover_wait, options_.drain_timeout),
            .what = "handing over"};
  }
  return {.time = options_.drain_timeout,
          .what = carry ? "finishing the work that was accepted, then handing over"
                        : "finishing the work that was accepted"};
}

// What takes memory comes before the first change.
void Server::switch_lame_duck() {
  const bool begins = !lame_duck_;
  // Balancers hear of it when they ask next. Whoever they send until then is served.
  const bool told = reporting_ != nullptr && reporting_->tells_balancers();
  const std::string text =
      !begins ? "SIGUSR2: newcomers are served again"
      : told
          ? "SIGUSR2: balancers are told to send no newcomers, whoever comes is served"
          : fmt::format("SIGUSR2: no newcomers, serving the {} that are here", clients_.served());
  clients_.take_newcomers(!begins || told);
  lame_duck_ = begins;
  lame_duck_asked_ = false;
  log::attempt([&] {
    log::write(LogLevel::kInfo, begins ? log::Event("lame-duck") : log::Event("lame-duck-ended"),
               {}, text);
  });
}

TimeUs Server::drain(TimeUs now) {
  if (succession_.prepared() && !delivers_first_) {
    watch_.withdraw();
    // Workers in a task that was given up cannot be joined: they have as long.
    drain_.tick(watch_.at_work() > 0 || admission_.outstanding() > admission_.awaited());
    return kNever;
  }
  const bool working = admission_.awaited() > 0 || (delivers_first_ && clients_.may_hear_more());
  const bool awaited =
      working || (delivers_first_ ? !all_is_delivered(now) : connections_.open() > 0);
  if (!awaited) drain_.hasten(now + kLastChance);
  drain_.tick(awaited || admission_.outstanding() > 0);
  return delivers_first_ && !working ? look_for_delivery_at_ : kNever;
}

// No event tells of delivery, and to ask for it is a system call for each connection.
bool Server::all_is_delivered(TimeUs now) {
  constexpr TimeUs kInterval = 20'000;
  if (now < look_for_delivery_at_) return false;
  look_for_delivery_at_ = now + kInterval;
  return clients_.debts().connections == 0;
}

// Between two rounds, when nothing is staged that was admitted under the old limits.
void Server::reload() {
  reserve_.release();
  try {
    service_manager::notify_reloading();
    CommandLine wanted = read_options_();
    // The old processes would stay only until the first of them ends.
    if (const std::string fault =
            wanted.exit_status || children_ == nullptr || wanted.options.program.empty()
                ? std::string()
                : program_fault(wanted.options);
        !fault.empty()) {
      refuse_reload({fault});
    } else if (wanted.exit_status) {
      refuse_reload(wanted.faults);
    } else {
      take_over(std::move(wanted.options));
    }
  } catch (const std::bad_alloc&) {
    log::write(LogLevel::kError, "reload-failed", {}, "configuration not changed: out of memory");
  }
  reserve_.hold(wanted_in_reserve());
  service_manager::notify("READY=1");  // whatever came of it, the manager waits for this
}

// All or nothing: what may fail for want of memory comes before the first change.
void Server::take_over(Options wanted) {
  clients_.make_room_to_reconfigure(wanted);
  const bool same_kind = options_.program.empty() == wanted.program.empty();
  Options next = options_;
  apply_reloadable(std::move(wanted), next);
  StandingWaits waits = pool_.queue().standing_waits(next.queue_target);
  if (children_ != nullptr && same_kind) children_->replace(next);
  options_ = std::move(next);
  longest_reply_ = longest_reply_of(options_);
  log::set_level(options_.log_level);
  configure_queue(std::move(waits));
  watch_.reconfigure();
  housekeeping_.reconfigure();
  admission_.forget_room();
  clients_.reconfigure();
  log::write(LogLevel::kInfo, "reloaded", {}, "configuration reloaded");
}

void Server::check_descriptors(std::size_t ending) {
  const std::size_t wanted = wanted_in_reserve() + 1;
  reserve_.hold(wanted);
  const std::size_t missing = wanted - std::min(wanted, reserve_.size() + ending);
  reserve_.release();
  if (missing == 0) return;
  const std::size_t limit = raise_descriptor_limit();
  throw std::runtime_error(
      fmt::format("the limit of {} open descriptors (LimitNOFILE=, ulimit -n) leaves none for a "
                  "client: it takes {} at the least",
                  limit, limit + missing));
}

void Server::configure_queue(StandingWaits waits) {
  pool_.queue().set_capacity(options_.queue_capacity);
  pool_.queue().set_wait_limits(options_.queue_timeout, std::move(waits));
}

void Server::start_reporting(StartingSockets& sockets, const HttpModule* http) {
  if (http == nullptr && sockets.agents.empty()) return;
  reporting_ = std::make_unique<Reporting>(
      loop_, timers_, counters_,
      std::make_unique<Overview>(options_, pool_, connections_, children_.get(), counters_, [this] {
        return Overview::Moment{
            .stats = view(), .phase = phase(), .now = loop_.now(), .started = started_at_unix_};
      }));
  if (http != nullptr) reporting_->start_monitor(std::move(sockets.monitors), *http);
  if (!sockets.agents.empty()) reporting_->start_agent(std::move(sockets.agents));
}

// What may be a stop is one until its work is done.
ServerState::Phase Server::phase() const {
  using Phase = ServerState::Phase;
  if (drain_.draining()) {
    return succession_.prepared() && !delivers_first_ ? Phase::kHandingOver : Phase::kDraining;
  }
  return lame_duck_ ? Phase::kLameDuck : Phase::kServing;
}

StatsView Server::view() {
  const TaskQueue::Level level = pool_.queue().level();
  StatsView view{.counters = counters_};
  view.uptime = loop_.now() - started_at_;
  view.connections = clients_.served();
  view.workers = pool_.size();
  view.stuck_workers = pool_.stuck();
  view.mode = drain_.draining()                                ? "stopping, "
              : lame_duck_                                     ? "lame duck: no newcomers, "
              : children_ != nullptr && !children_->any_able() ? "no worker available, "
                                                               : "";
  view.queue_depth = level.depth + admission_.staged();
  view.queue_capacity = options_.queue_capacity;
  const std::size_t outstanding = admission_.outstanding();
  view.active_workers =
      workers_at_work(outstanding - std::min(outstanding, view.queue_depth + view.stuck_workers),
                      view.workers, level.idle);
  return view;
}

}  // namespace pool_server
