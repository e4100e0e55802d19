#include "pool/worker.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/protocol.h"
#include "sys/clock.h"
#include "sys/crash_report.h"

namespace pool_server {

Worker::Worker(unsigned index, TaskQueue& queue, CompletionQueue& completions,
               std::unique_ptr<Handler> handler)
    : index_(index), queue_(queue), completions_(completions), handler_(std::move(handler)) {
  outbox_.reserve(kMaxBatch);
  {
    const MutexLock lock(mutex_);
    unbegun_.reserve(kMaxBatch);
    ended_.reserve(kMaxBatch);
  }
  thread_ = Thread(name(index), [this] { run(); });
}

void Worker::run() {
  TimeUs now = monotonic_now();
  for (;;) {
    bool loop_waits_for_room = false;
    const std::size_t count = queue_.pop(sleeper_, popped_, now, loop_waits_for_room);
    if (loop_waits_for_room) completions_.wake_loop();
    if (count == 0) return;
    now = monotonic_now();  // pop() may have slept
    for (Task* task = begin_batch(count, now); task != nullptr; task = begin_next(now)) {
      if (task->shed == Task::Shed::kNo) compute(*task);
      now = monotonic_now();
    }
    completions_.post(outbox_);
    outbox_.clear();
  }
}

Task* Worker::begin_batch(std::size_t count, TimeUs now) {
  const MutexLock lock(mutex_);
  unbegun_.assign(std::make_move_iterator(popped_.rend() - static_cast<std::ptrdiff_t>(count)),
                  std::make_move_iterator(popped_.rend()));
  return begin_one(now);
}

Task* Worker::begin_next(TimeUs now) {
  const MutexLock lock(mutex_);
  running_->ended_at = now;
  ended_.push_back(std::move(running_));
  if (!unbegun_.empty()) return begin_one(now);
  outbox_.swap(ended_);
  return nullptr;
}

Task* Worker::begin_one(TimeUs now) {
  running_ = std::move(unbegun_.back());
  unbegun_.pop_back();
  running_->begun_at = now;
  running_->worker = index_;
  stop_requested_ = running_->cancelled;
  return running_.get();
}

// The one place that catches what a handler throws.
void Worker::compute(Task& task) {
  task.reply.clear();
  crash_report::begin_task(index_, task.number);
  try {
    task.outcome = handler_->handle(task.text, token_, task.reply);
  } catch (...) {
    task.outcome = Outcome::kError;
    task.reply = protocol::kInternalError;
  }
  crash_report::end_task();
  protocol::make_reply(task.outcome, task.reply);
}

bool Worker::Token::stop_requested() const {
  const MutexLock lock(worker_.mutex_);
  return worker_.stop_requested_;
}

std::optional<Worker::Running> Worker::running() {
  const MutexLock lock(mutex_);
  if (running_ == nullptr) return std::nullopt;
  return describe();
}

std::optional<Worker::Running> Worker::time_out_if_begun_by(TimeUs begun_by, TimeUs now) {
  const MutexLock lock(mutex_);
  if (running_ == nullptr || running_->begun_at > begun_by || running_->answered) {
    return std::nullopt;
  }
  const Running overdue = describe();
  running_->answered = true;
  stop_requested_ = true;
  told_to_stop_at_ = now;
  return overdue;
}

void Worker::cancel_tasks_of(ConnectionId connection) {
  const MutexLock lock(mutex_);
  if (running_ != nullptr && running_->connection == connection) {
    running_->cancelled = stop_requested_ = true;
  }
  for (const TaskPtr& task : unbegun_) task->cancelled |= task->connection == connection;
}

void Worker::cancel_all() {
  const MutexLock lock(mutex_);
  if (running_ != nullptr) running_->cancelled = stop_requested_ = true;
  for (const TaskPtr& task : unbegun_) task->cancelled = true;
}

TaskPtr Worker::copy_running() {
  const MutexLock lock(mutex_);
  if (running_ == nullptr || running_->answered) return nullptr;
  auto copy = std::make_unique<Task>();
  copy->connection = running_->connection;
  copy->sequence = running_->sequence;
  copy->text = running_->text;  // the handler only reads it
  return copy;
}

void Worker::take_back_if_begun_by(TimeUs begun_by, std::vector<TaskPtr>& ended,
                                   std::vector<TaskPtr>& unbegun) {
  const MutexLock lock(mutex_);
  if (running_ == nullptr || running_->begun_at > begun_by) return;
  std::move(ended_.begin(), ended_.end(), std::back_inserter(ended));
  ended_.clear();
  std::move(unbegun_.rbegin(), unbegun_.rend(), std::back_inserter(unbegun));
  unbegun_.clear();
}

Worker::Running Worker::describe() const {
  return {running_->connection,
          running_->sequence,
          running_->number,
          running_->charge,
          running_->begun_at,
          running_->begun_at - running_->accepted_at,
          index_,
          running_->answered,
          told_to_stop_at_};
}

}  // namespace pool_server
