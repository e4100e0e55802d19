#include "server/pool_watch.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "core/protocol.h"
#include "server/log.h"

namespace pool_server {

namespace {

// After handing out work, look after the workers this soon: the estimates may be wrong.
constexpr TimeUs kInspectSoon = 1'000;
// Tasks are in transit between queue and worker for some microseconds, in which nobody can take
// them: look this often, this many times.
constexpr unsigned kTransitPause = 100;  // µs
constexpr int kTransitTries = 1'000;
// Beyond the grace that a process has: until its worker gives up waiting for it, and a bit.
constexpr TimeUs kProcessMargin = 1'000'000;

}  // namespace

PoolWatch::PoolWatch(const Options& options, ThreadPool& pool, CompletionQueue& completions,
                     ConnectionTable& connections, Admission& admission, ReplyRouter& router,
                     Counters& counters)
    : options_(options),
      pool_(pool),
      completions_(completions),
      connections_(connections),
      admission_(admission),
      router_(router),
      counters_(counters) {}

bool PoolWatch::collect(TimeUs now) {
  deliver(ended_);  // of a step that threw
  const bool came_back = completions_.take_or_sleep(ended_);
  deliver(ended_);
  // Their workers have taken more by now, perhaps a batch on a wrong estimate.
  if (came_back) inspect_soon(now);
  return came_back;
}

void PoolWatch::inspect_soon(TimeUs now) {
  inspect_at_ = std::min(inspect_at_, now + kInspectSoon);
}

// What runs and what waits may be overdue by the new limits, or no longer.
void PoolWatch::reconfigure() {
  inspect_at_ = 0;
}

TimeUs PoolWatch::inspect(TimeUs now) {
  if (admission_.outstanding() == 0) inspect_at_ = kNever;
  if (now < inspect_at_) return inspect_at_;
  const unsigned max_stuck = options_.max_stuck_workers == Options::kAsWorkers
                                 ? options_.max_workers
                                 : options_.max_stuck_workers;
  const TimeUs least_grace = options_.in_processes() ? options_.kill_grace + kProcessMargin : 0;
  // What waits behind a long task may be put into the queue again, by a look that fails later, too.
  admission_.forget_room();
  pool_.inspect(
      now,
      {.task_timeout = options_.task_timeout, .max_stuck = max_stuck, .least_grace = least_grace},
      admission_.outstanding(), admission_.estimated_task(), inspection_);
  const bool answers = !inspection_.overdue.empty() || !inspection_.ended.empty();
  answer_overdue(now);
  report_stuck();
  deliver(inspection_.ended);
  // Last: a look that failed for want of memory, or what it found and was not told, is due still.
  inspect_at_ = inspection_.look_again_at;
  return answers ? now : inspect_at_;
}

void PoolWatch::withdraw() {
  pool_.surrender(ended_, withdrawn_);
  deliver(ended_);
}

std::vector<RunPtr> PoolWatch::take_undone_work() {
  // What is taken back stays where another try finds it, should there be no memory for the rest.
  std::vector<RunPtr> copies;
  for (int tries = 0; tries < kTransitTries; ++tries) {
    withdrawn_.reserve(withdrawn_.size() + admission_.awaited());
    ended_.reserve(ended_.size() + admission_.awaited());
    pool_.surrender(ended_, withdrawn_);
    deliver(ended_);
    completions_.take_or_sleep(ended_);
    deliver(ended_);
    copies.clear();
    pool_.copy_running(copies);
    // What was collected is not running any more, so nothing is counted twice; what is missing has
    // ended and is about to be posted, or was popped and is about to begin.
    if (tasks_in(withdrawn_) + tasks_in(copies) >= admission_.awaited()) break;
    ::usleep(kTransitPause);
  }
  withdrawn_.reserve(withdrawn_.size() + copies.size());
  std::ranges::move(copies, std::back_inserter(withdrawn_));
  return std::exchange(withdrawn_, {});
}

void PoolWatch::report_abandoned_work() {
  pool_.cancel_all();
  constexpr std::size_t kMostNamed = 8;
  const std::vector<Worker::Running> running = pool_.running();
  if (running.empty()) return;
  std::string tasks;
  for (std::size_t i = 0; i < std::min(running.size(), kMostNamed); ++i) {
    tasks += fmt::format("{}task {} on {}", i == 0 ? "" : ", ", running[i].number,
                         Worker::name(running[i].worker));
  }
  if (running.size() > kMostNamed) {
    tasks += fmt::format(" and {} more", running.size() - kMostNamed);
  }
  log::write(LogLevel::kWarning, "abandoned", {}, fmt::format("gave up {}", tasks));
}

void PoolWatch::deliver(std::vector<RunPtr>& ended) {
  const bool debug = log::enabled(LogLevel::kDebug);
  for (RunPtr& run : ended) {
    if (debug) log::attempt([&] { log_computed(*run); });
    if (run->has_news) log::attempt([&] { tell_news(*run); });
    admission_.on_ended(*run);
    if (run->answered) pool_.came_back(run->worker);
    router_.deliver(std::move(run));
  }
  ended.clear();
}

void PoolWatch::log_computed(const Run& run) {
  if (run.shed != Run::Shed::kNo) return;
  const std::string client = std::to_string(run.serial);
  const std::string worker = Worker::name(run.worker);
  std::uint64_t number = run.number;
  TimeUs waited = run.begun_at - run.accepted_at;
  for (const Task& task : run.tasks) {
    log::write_for_thread(
        worker, LogLevel::kDebug, "computed",
        {{"POOL_SERVER_CONNECTION", client},
         {"POOL_SERVER_TASK", std::to_string(number)},
         {"POOL_SERVER_WORKER", worker},
         {"POOL_SERVER_WAIT_USEC", std::to_string(waited)},
         {"POOL_SERVER_RUN_USEC", std::to_string(task.took)}},
        fmt::format("computed task {} of connection {} in {} us", number, client, task.took));
    ++number;
    waited += task.took;
  }
}

void PoolWatch::tell_news(const Run& run) {
  std::uint64_t number = run.number;
  for (const Task& task : run.tasks) {
    const TaskNotes* const notes = run.notes.find(number);
    if (task.failed || notes != nullptr) tell_notes(run, number, task.failed, notes);
    ++number;
  }
}

// What the handler said of a task, told under the name of its worker.
void PoolWatch::tell_notes(const Run& run, std::uint64_t task, bool failed,
                           const TaskNotes* notes) {
  const std::string client = std::to_string(run.serial);
  const std::string number = std::to_string(task);
  const std::string worker = Worker::name(run.worker);
  // `said`: by the handler, in which a piece of the request may be.
  const auto tell = [&](LogLevel level, log::Event event, std::string_view what,
                        std::string_view said) {
    const std::string own = fmt::format("task {} of connection {}: {}", number, client, what);
    log::write_for_thread(worker, level, event,
                          {{"POOL_SERVER_CONNECTION", client},
                           {"POOL_SERVER_TASK", number},
                           {"POOL_SERVER_WORKER", worker}},
                          {own + std::string(said), own.size()});
  };
  if (notes != nullptr) {
    for (const TaskNotes::Line& line : notes->lines()) {
      tell(line.level, "handler-log", "", line.text);
    }
    if (const std::size_t bytes = notes->left_out(); bytes > 0) {
      tell(LogLevel::kWarning, "handler-log-cut",
           fmt::format("{} bytes more of the handler's log are left out", bytes), "");
    }
  }
  if (notes != nullptr && !notes->crash().empty()) {
    const std::string_view said = notes->last_words();
    tell(LogLevel::kWarning, "worker-crashed",
         fmt::format("the worker's process crashed ({}){}", notes->crash(),
                     said.empty() ? "" : ", having said: "),
         said);
  }
  if (failed) {
    const std::string_view reason = notes == nullptr ? std::string_view() : notes->reason();
    tell(LogLevel::kWarning, "handler-threw",
         "the handler failed: ", reason.empty() ? "no reason is known" : reason);
  }
}

void PoolWatch::answer_overdue(TimeUs now) {
  const std::string message = protocol::timed_out(options_.task_timeout);
  for (const Worker::Running& task : inspection_.overdue) {
    log::attempt([&] { tell_overdue(task, message, now); });
    admission_.on_overdue();
    router_.answer_overdue(task, message);
  }
  inspection_.overdue.clear();
}

void PoolWatch::tell_overdue(const Worker::Running& task, std::string_view message, TimeUs now) {
  const Connection* connection = connections_.find(task.connection);
  const std::string client = std::to_string(task.serial);
  log::write(LogLevel::kWarning, "task-timeout",
             {{"POOL_SERVER_CONNECTION", client},
              {"POOL_SERVER_PEER", connection == nullptr ? "-" : connection->peer()},
              {"POOL_SERVER_TASK", std::to_string(task.number)},
              {"POOL_SERVER_WORKER", Worker::name(task.worker)},
              {"POOL_SERVER_WAIT_USEC", std::to_string(task.waited)},
              {"POOL_SERVER_RUN_USEC", std::to_string(now - task.begun_at)}},
             fmt::format("task {} of connection {} on {} {}", task.number, client,
                         Worker::name(task.worker), message));
}

void PoolWatch::report_stuck() {
  for (const Worker::Running& task : inspection_.stuck) {
    ++counters_.quarantined;
    log::attempt([&] {
      log::write(LogLevel::kError, "worker-stuck",
                 {{"POOL_SERVER_CONNECTION", std::to_string(task.serial)},
                  {"POOL_SERVER_TASK", std::to_string(task.number)},
                  {"POOL_SERVER_WORKER", Worker::name(task.worker)}},
                 fmt::format("{} does not come back from task {}: replaced, {} such",
                             Worker::name(task.worker), task.number, pool_.stuck()));
    });
  }
  inspection_.stuck.clear();
  if (!inspection_.no_progress_possible || std::exchange(pool_is_stuck_, true)) return;
  log::write(LogLevel::kError, "pool-stuck", {}, "no worker can make progress any more");
}

}  // namespace pool_server
