#include "pool/thread_pool.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace pool_server {

namespace {

// A task that runs this long holds up its batch; also the time after which waking is reconsidered.
constexpr TimeUs kLong = 1'000;  // µs

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
    std::erase_if(workers_, [&](const auto& worker) { return worker->sleeper() == retired; });
  }
}

bool ThreadPool::start_one() {
  unsigned index = 0;  // the lowest that is free, so that names stay few
  auto place = workers_.begin();
  while (place != workers_.end() && (*place)->index() == index) ++place, ++index;
  try {
    workers_.insert(place, std::make_unique<Worker>(index, *queue_, completions_, make_handler_()));
    return true;
  } catch (const std::exception& error) {
    start_failure_ = error.what();
    return false;
  }
}

void ThreadPool::inspect(TimeUs now, TimeUs task_timeout, bool work_outstanding,
                         Inspection& found) {
  found.look_again_at = kNever;
  bool look_again_soon = false;
  if (task_timeout > 0 && work_outstanding) found.look_again_at = now + task_timeout;
  for (const auto& worker : workers_) {
    if (task_timeout > 0) {
      if (auto overdue = worker->time_out_if_begun_by(now - task_timeout)) {
        found.overdue.push_back(*overdue);
      } else if (const auto running = worker->running(); running && !running->answered) {
        found.look_again_at = std::min(found.look_again_at, running->begun_at + task_timeout);
      }
    }
    if (worker->take_back_if_begun_by(now - kLong, found.ended, taken_back_)) {
      look_again_soon = true;
    }
  }
  if (!taken_back_.empty()) queue_->give_back(taken_back_);
  const TaskQueue::Level level = queue_->wake_for_waiting();
  if (look_again_soon || (level.depth > 0 && level.idle > 0)) {
    found.look_again_at = std::min(found.look_again_at, now + kLong);
  }
}

void ThreadPool::cancel(ConnectionId connection, std::vector<TaskPtr>& cancelled) {
  queue_->cancel(connection, cancelled);
  for (const auto& worker : workers_) worker->cancel_tasks_of(connection);
}

void ThreadPool::cancel_all() {
  for (const auto& worker : workers_) worker->cancel_all();
}

std::vector<Worker::Running> ThreadPool::running() {
  std::vector<Worker::Running> all;
  for (const auto& worker : workers_) {
    if (const auto running = worker->running()) all.push_back(*running);
  }
  return all;
}

void ThreadPool::shutdown() {
  if (queue_ == nullptr) return;
  queue_->close();
  workers_.clear();  // joins each
  queue_.reset();
}

}  // namespace pool_server
