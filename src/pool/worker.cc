#include "pool/worker.h"

#include <algorithm>
#include <cassert>
#include <exception>
#include <iterator>
#include <new>
#include <utility>

#include "core/protocol.h"
#include "core/wipe.h"
#include "sys/clock.h"
#include "sys/crash_report.h"

namespace pool_server {

namespace {

// A look that is later than this part of the grace says more of the machine than of the worker:
// the whole process may have been stopped or frozen, and the loop be the first to run again.
constexpr TimeUs kPunctual = 8;

void answer_internal_error(Task& task) noexcept {
  task.outcome = Outcome::kError;
  wipe(task.reply);
  assert(task.reply.capacity() >= protocol::kInternalErrorReply.size());
  task.reply.assign(protocol::kInternalErrorReply);  // fits: see Task and Handler
}

}  // namespace

Worker::Worker(unsigned index, TaskQueue& queue, CompletionQueue& completions,
               std::unique_ptr<Handler> handler)
    : index_(index), queue_(queue), completions_(completions), handler_(std::move(handler)) {
  handler_->use_log(log_);
  handler_->use_upcoming(ahead_);
  handler_->serve_as(index_);
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
    if (prepare()) now = monotonic_now();
    bool loop_waits_for_room = false;
    const std::size_t count = queue_.pop(sleeper_, popped_, now, loop_waits_for_room);
    now = monotonic_now();  // pop() may have slept
    if (count == TaskQueue::kNudged) continue;
    if (loop_waits_for_room) completions_.wake_loop();
    if (count == 0) return;
    bool last = false;
    for (Task* task = begin_batch(count, now); task != nullptr; task = begin_next(now, last)) {
      if (task->shed == Task::Shed::kNo) compute(*task);
      now = monotonic_now();
    }
    if (last) queue_.leave(sleeper_);  // before the loop can hear of it, and end the queue
    completions_.post(outbox_);
    outbox_.clear();
    if (last) return;
  }
}

// What it could not do for want of memory is tried again, at the latest when a request needs it.
bool Worker::prepare() {
  try {
    return handler_->prepare(closing_token_);
  } catch (const std::exception&) {
    return true;
  }
}

Task* Worker::begin_batch(std::size_t count, TimeUs now) {
  const MutexLock lock(mutex_);
  unbegun_.assign(std::make_move_iterator(popped_.rend() - static_cast<std::ptrdiff_t>(count)),
                  std::make_move_iterator(popped_.rend()));
  return begin_one(now);
}

Task* Worker::begin_next(TimeUs now, bool& last) {
  const MutexLock lock(mutex_);
  last = given_up_;
  running_->ended_at = now;
  ended_.push_back(std::move(running_));
  if (!unbegun_.empty()) return begin_one(now);
  outbox_.swap(ended_);
  return nullptr;
}

Task* Worker::begin_one(TimeUs now) {
  running_ = std::move(unbegun_.back());
  unbegun_.pop_back();
  if (reserved_ > 0) --reserved_;
  running_->begun_at = now;
  running_->worker = index_;
  stop_requested_ = running_->cancelled;
  return running_.get();
}

// The one place that catches what a handler throws. There may be no memory then.
void Worker::compute(Task& task) {
  task.reply.clear();
  log_.begin(task);
  crash_report::begin_task(index_, task.number, task.serial);
  try {
    task.outcome = handler_->handle(task.text, token_, task.reply);
    protocol::make_reply(task.outcome, task.reply);
  } catch (const std::exception& error) {
    log_.failed(error.what());
    answer_internal_error(task);
  } catch (...) {
    log_.failed("an exception of unknown type");
    answer_internal_error(task);
  }
  crash_report::end_task();
}

void Worker::Log::write(LogLevel level, std::string_view text) noexcept {
  crash_report::note(text);
  if (TaskNotes* const notes = this->notes()) notes->add(level, text);
}

void Worker::Log::failed(std::string_view reason) noexcept {
  task_->failed = true;
  if (TaskNotes* const notes = this->notes()) notes->fail(reason);
}

void Worker::Log::crashed(std::string_view how, std::string_view last_words) noexcept {
  if (TaskNotes* const notes = this->notes()) notes->crash(how, last_words);
}

TaskNotes* Worker::Log::notes() noexcept {
  if (task_->notes == nullptr) task_->notes.reset(new (std::nothrow) TaskNotes);
  return task_->notes.get();
}

bool Worker::Token::stop_requested() const {
  const MutexLock lock(worker_.mutex_);
  return worker_.stop_requested_;
}

bool Worker::Closing::stop_requested() const {
  const MutexLock lock(worker_.mutex_);
  return worker_.closing_;
}

// Those that are shed are not handled, and so not counted.
std::size_t Worker::Ahead::reserve(std::span<std::string_view> texts, std::size_t longest) {
  Worker& worker = worker_;
  const MutexLock lock(worker.mutex_);
  std::size_t count = 0;
  while (count < texts.size() && worker.reserved_ < worker.unbegun_.size()) {
    const Task& next = *worker.unbegun_[worker.unbegun_.size() - 1 - worker.reserved_];
    if (next.shed == Task::Shed::kNo) {
      if (next.cancelled || next.text.size() > longest) break;
      texts[count++] = next.text;
    }
    ++worker.reserved_;
  }
  return count;
}

void Worker::Ahead::keep_reserved(std::size_t count) noexcept {
  Worker& worker = worker_;
  const MutexLock lock(worker.mutex_);
  std::size_t kept = 0;
  for (; kept < worker.reserved_ && count > 0; ++kept) {
    if (worker.unbegun_[worker.unbegun_.size() - 1 - kept]->shed == Task::Shed::kNo) --count;
  }
  worker.reserved_ = kept;
}

void Worker::Ahead::was_work(TimeUs work) noexcept {
  const MutexLock lock(worker_.mutex_);
  worker_.running_->work = work;
}

std::optional<Worker::Running> Worker::running() {
  const MutexLock lock(mutex_);
  if (running_ == nullptr) return std::nullopt;
  return describe();
}

Worker::Verdict Worker::judge(TimeUs now, const Patience& patience) {
  Verdict verdict = judge_running(now, patience);
  if (verdict.overdue) handler_->interrupt();
  return verdict;
}

Worker::Verdict Worker::judge_running(TimeUs now, const Patience& patience) {
  Verdict verdict;
  if (patience.task_timeout == 0) return verdict;
  const MutexLock lock(mutex_);
  if (running_ == nullptr) return verdict;
  if (!running_->answered) {
    const TimeUs due = running_->begun_at + patience.task_timeout;
    if (now < due) {
      verdict.look_again_at = due;
      return verdict;
    }
    verdict.overdue = describe();
    running_->answered = stop_requested_ = true;
    told_to_stop_at_ = now;  // its grace begins here, however late the loop has come
    had_more_grace_ = false;
  }
  TimeUs due = told_to_stop_at_ + patience.grace;
  if (now > due + patience.grace / kPunctual && !std::exchange(had_more_grace_, true)) {
    told_to_stop_at_ = now - patience.grace / 2;
    due = told_to_stop_at_ + patience.grace;
  }
  if (now < due) {
    verdict.look_again_at = due;
    return verdict;
  }
  verdict.past_saving = describe();
  // All else was taken back long since.
  assert(ended_.empty() && unbegun_.size() == reserved_);
  verdict.given_up = given_up_ = patience.may_give_up && unbegun_.empty();
  return verdict;
}

bool Worker::is_ending() {
  const MutexLock lock(mutex_);
  return given_up_ && running_ == nullptr;
}

// No system call is made under the mutex, and interrupt() may be one: here and in the next.
void Worker::cancel_tasks_of(ConnectionId connection) {
  bool runs = false;
  {
    const MutexLock lock(mutex_);
    runs = running_ != nullptr && running_->connection == connection;
    if (runs) running_->cancelled = stop_requested_ = true;
    for (const TaskPtr& task : unbegun_) task->cancelled |= task->connection == connection;
  }
  if (runs) handler_->interrupt();
}

void Worker::cancel_all() {
  {
    const MutexLock lock(mutex_);
    if (running_ != nullptr) running_->cancelled = stop_requested_ = true;
    for (const TaskPtr& task : unbegun_) task->cancelled = true;
  }
  handler_->interrupt();
}

void Worker::expect_end() {
  {
    const MutexLock lock(mutex_);
    closing_ = true;
  }
  handler_->interrupt();
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
  ended.reserve(ended.size() + ended_.size());  // what throws must not do so halfway
  unbegun.reserve(unbegun.size() + unbegun_.size());
  std::move(ended_.begin(), ended_.end(), std::back_inserter(ended));
  ended_.clear();
  const auto end = unbegun_.end() - static_cast<std::ptrdiff_t>(reserved_);
  std::move(std::make_reverse_iterator(end), unbegun_.rend(), std::back_inserter(unbegun));
  unbegun_.erase(unbegun_.begin(), end);
}

Worker::Running Worker::describe() const {
  return {running_->connection,
          running_->sequence,
          running_->number,
          running_->serial,
          running_->charge,
          running_->begun_at,
          running_->begun_at - running_->accepted_at,
          index_,
          running_->answered,
          told_to_stop_at_};
}

}  // namespace pool_server
