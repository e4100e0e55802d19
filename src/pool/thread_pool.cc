#include "pool/thread_pool.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace pool_server {

namespace {

// A task that runs this long holds up its batch; also the time after which waking is reconsidered.
constexpr TimeUs kLong = 1'000;  // µs
// A worker has as long again as the time-out to notice its stop token before it is taken for stuck,
// within these bounds.
constexpr TimeUs kShortestGrace = 100'000;   // µs
constexpr TimeUs kLongestGrace = 1'000'000;  // µs

}  // namespace

ThreadPool::ThreadPool(unsigned workers, std::size_t queue_capacity, HandlerFactory make_handler,
                       CompletionQueue& completions)
    : make_handler_(std::move(make_handler)),
      completions_(completions),
      queue_(std::make_unique<TaskQueue>(queue_capacity)) {
  workers_.push_back(std::make_unique<Worker>(0, *queue_, completions_, make_handler_()));
  resize(workers);
}

void ThreadPool::resize(unsigned wanted) {
  start_failure_.clear();
  while (size() < wanted && start_one()) {
  }
  while (size() > std::max(wanted, 1U)) {
    const TaskQueue::Sleeper* retired = queue_->retire_one();
    if (retired == nullptr) return;
    std::erase_if(workers_, [&](const auto& worker) { return &worker->sleeper() == retired; });
  }
}

bool ThreadPool::start_one() {
  unsigned index = 0;  // the lowest that is free, so that names stay few
  while (index_in_use(index)) ++index;
  try {
    auto worker = std::make_unique<Worker>(index, *queue_, completions_, make_handler_());
    workers_.push_back(std::move(worker));
    return true;
  } catch (const std::exception& error) {
    start_failure_ = error.what();
    return false;
  }
}

bool ThreadPool::index_in_use(unsigned index) const {
  const auto has_it = [index](const auto& worker) { return worker->index() == index; };
  return std::ranges::any_of(workers_, has_it) || std::ranges::any_of(stuck_, has_it);
}

void ThreadPool::inspect(TimeUs now, const Patience& patience, std::size_t outstanding,
                         double estimated_run, Inspection& found) {
  found.look_again_at = kNever;
  std::size_t hopeless = 0;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    workers_[i]->take_back_if_begun_by(now - kLong, found.ended, taken_back_);
    if (judge(*workers_[i], now, patience.task_timeout, found) == Fate::kFine) continue;
    if (stuck_.size() < patience.max_stuck) {
      found.stuck.push_back(*workers_[i]->running());
      quarantine(i--);
    } else {
      ++hopeless;
    }
  }
  for (std::size_t i = 0; i < found.stuck.size(); ++i) start_one();
  found.no_progress_possible = hopeless == workers_.size();
  if (!taken_back_.empty()) queue_->give_back(taken_back_);
  found.look_again_by(queue_->take_expired(now, found.ended));

  // Until every task is either running or queued behind workers that all run one, something is in
  // transit: popped, about to be posted, or waiting for a worker that is about to wake.
  const std::size_t depth = queue_->wake_for_waiting(estimated_run).depth;
  const std::size_t running = this->running().size();
  const bool settled = outstanding == found.ended.size() + depth + running &&
                       (depth == 0 || running == workers_.size() + stuck_.size());
  if (!settled) found.look_again_by(now + kLong);
  if (patience.task_timeout > 0 && outstanding > 0) {
    found.look_again_by(now + patience.task_timeout);  // of a task that begins right now
  }
}

ThreadPool::Fate ThreadPool::judge(Worker& worker, TimeUs now, TimeUs timeout, Inspection& found) {
  if (timeout == 0) return Fate::kFine;
  if (const auto overdue = worker.time_out_if_begun_by(now - timeout, now)) {
    found.overdue.push_back(*overdue);
  }
  const auto running = worker.running();
  if (!running) return Fate::kFine;
  const TimeUs grace = std::clamp(timeout, kShortestGrace, kLongestGrace);
  // From when it was told, which a stalled loop does late.
  const TimeUs due =
      running->answered ? running->told_to_stop_at + grace : running->begun_at + timeout;
  if (running->answered && now >= due) return Fate::kStuck;
  found.look_again_by(due);
  return Fate::kFine;
}

void ThreadPool::quarantine(std::size_t position) {
  queue_->retire(workers_[position]->sleeper());
  stuck_.push_back(std::move(workers_[position]));
  workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(position));
}

void ThreadPool::came_back(unsigned index) {
  // It ends without another task, so this waits no longer than a thread needs to return. One that
  // is in another task already (the first came back by way of a batch) is not joined before that
  // ends.
  std::erase_if(stuck_, [index](const auto& worker) {
    return worker->index() == index && !worker->running();
  });
}

bool ThreadPool::can_progress() {
  return std::ranges::any_of(workers_, [](const auto& worker) {
    const auto running = worker->running();
    return running && !running->answered;
  });
}

void ThreadPool::cancel(ConnectionId connection, std::vector<TaskPtr>& cancelled) {
  queue_->cancel(connection, cancelled);
  for (const auto& worker : workers_) worker->cancel_tasks_of(connection);
}

void ThreadPool::surrender(std::vector<TaskPtr>& ended, std::vector<TaskPtr>& undone) {
  queue_->take_all(undone);
  for (const auto* workers : {&workers_, &stuck_}) {
    for (const auto& worker : *workers) {
      worker->take_back_if_begun_by(kNever, ended, undone);
    }
  }
}

void ThreadPool::copy_running(std::vector<TaskPtr>& copies) {
  for (const auto* workers : {&workers_, &stuck_}) {
    for (const auto& worker : *workers) {
      if (TaskPtr copy = worker->copy_running()) copies.push_back(std::move(copy));
    }
  }
}

void ThreadPool::cancel_all() {
  for (const auto& worker : workers_) worker->cancel_all();
}

std::vector<Worker::Running> ThreadPool::running() {
  std::vector<Worker::Running> all;
  for (const auto* workers : {&workers_, &stuck_}) {
    for (const auto& worker : *workers) {
      if (const auto running = worker->running()) all.push_back(*running);
    }
  }
  return all;
}

void ThreadPool::shutdown() {
  if (queue_ == nullptr) return;
  queue_->close();
  workers_.clear();  // joins each
  stuck_.clear();
  queue_.reset();
}

}  // namespace pool_server
