#include "pool/thread_pool.h"

#include <algorithm>
#include <exception>
#include <iterator>
#include <new>
#include <span>
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

ThreadPool::ThreadPool(std::size_t queue_capacity, HandlerFactory make_handler,
                       CompletionQueue& completions)
    : make_handler_(std::move(make_handler)),
      completions_(completions),
      queue_(std::make_unique<TaskQueue>(queue_capacity)) {}

ThreadPool::ThreadPool(unsigned workers, std::size_t queue_capacity, HandlerFactory make_handler,
                       CompletionQueue& completions)
    : ThreadPool(queue_capacity, std::move(make_handler), completions) {
  add_worker();
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
  try {
    add_worker();
    return true;
  } catch (const std::exception& error) {
    start_failure_ = error.what();
    return false;
  }
}

void ThreadPool::add_worker() {
  unsigned index = 0;  // the lowest that is free, so that names stay few
  while (index_in_use(index)) ++index;
  // Room first: once its thread runs, a worker can be destroyed only when it has been told to end.
  workers_.reserve(workers_.size() + 1);
  workers_.push_back(std::make_unique<Worker>(index, *queue_, completions_, make_handler_()));
}

bool ThreadPool::index_in_use(unsigned index) const {
  const auto has_it = [index](const auto& worker) { return worker->index() == index; };
  return std::ranges::any_of(workers_, has_it) || std::ranges::any_of(stuck_, has_it);
}

void ThreadPool::inspect(TimeUs now, const Patience& patience, std::size_t outstanding,
                         double estimated_task, Inspection& found) {
  found.look_again_at = kNever;
  // Nothing may fail between giving a worker up and putting it where it belongs. What an earlier
  // look found that failed later is there still, and is to be told.
  found.overdue.reserve(found.overdue.size() + workers_.size());
  found.stuck.reserve(found.stuck.size() + workers_.size());
  const std::size_t known = found.stuck.size();
  stuck_.reserve(stuck_.size() + workers_.size());
  const TimeUs grace = std::max(std::clamp(patience.task_timeout, kShortestGrace, kLongestGrace),
                                patience.least_grace);
  // What is overdue is alone on its worker then.
  const TimeUs long_for_its_batch =
      patience.task_timeout > 0 ? std::min(kLong, patience.task_timeout) : kLong;
  for (const auto& worker : workers_) {
    worker->take_back_if_begun_by(now - long_for_its_batch, found.ended, taken_back_);
  }
  std::size_t hopeless = 0;
  for (const auto& worker : workers_) {
    const Worker::Verdict verdict = worker->judge(
        now, {.task_timeout = patience.task_timeout,
              .grace = grace,
              .may_give_up = stuck_.size() + found.stuck.size() - known < patience.max_stuck});
    found.look_again_by(verdict.look_again_at);
    if (verdict.overdue) found.overdue.push_back(*verdict.overdue);
    if (!verdict.past_saving) continue;
    if (verdict.given_up) {
      found.stuck.push_back(*verdict.past_saving);
    } else {
      ++hopeless;
    }
  }
  quarantine(std::span(found.stuck).subspan(known));
  for (std::size_t i = known; i < found.stuck.size(); ++i) start_one();
  found.no_progress_possible = hopeless == workers_.size();
  if (!taken_back_.empty()) {
    cut_taken_back();
    queue_->give_back(taken_back_);
  }
  try {
    found.look_again_by(queue_->take_expired(now, found.ended));
  } catch (const std::bad_alloc&) {  // they wait a little longer, and what has ended does not
    found.look_again_by(now + kLong);
  }

  // Until every task is either running or queued behind workers that all run one, something is in
  // transit: popped, about to be posted, or waiting for a worker that is about to wake.
  const std::size_t depth = queue_->wake_for_waiting(estimated_task).depth;
  const std::size_t running = this->running().size();
  const bool settled = outstanding == tasks_in(found.ended) + depth + running &&
                       (depth == 0 || running == workers_.size() + stuck_.size());
  if (!settled) found.look_again_by(now + kLong);
  if (patience.task_timeout > 0 && outstanding > 0) {
    found.look_again_by(now + patience.task_timeout);  // of a task that begins right now
  }
}

// They were cut by an estimate that was wrong: now each worker is to find a piece of them. Without
// memory for that they stay as they are.
void ThreadPool::cut_taken_back() {
  const std::size_t workers = std::max<std::size_t>(workers_.size(), 1);
  std::vector<RunPtr> cut;
  try {
    cut.reserve(taken_back_.size() * workers);
  } catch (const std::bad_alloc&) {
    return;
  }
  for (RunPtr& run : taken_back_) {
    const std::size_t piece = (run->size() + workers - 1) / workers;
    cut.push_back(std::move(run));
    try {
      while (cut.back()->size() > piece) cut.push_back(cut.back()->cut(piece));
    } catch (const std::bad_alloc&) {  // so it goes as it is
    }
  }
  taken_back_.swap(cut);
}

void ThreadPool::quarantine(std::span<const Worker::Running> stuck) {
  for (const Worker::Running& task : stuck) {
    const auto worker =
        std::ranges::find(workers_, task.worker, [](const auto& each) { return each->index(); });
    stuck_.push_back(std::move(*worker));
    workers_.erase(worker);
  }
}

void ThreadPool::came_back(unsigned index) {
  // Joined only if it is known to end, so this waits no longer than a thread needs to return: what
  // came back may be an earlier task of its last batch.
  std::erase_if(stuck_, [index](const auto& worker) {
    return worker->index() == index && worker->is_ending();
  });
}

bool ThreadPool::can_progress() {
  return std::ranges::any_of(workers_, [](const auto& worker) {
    const auto running = worker->running();
    return running && !running->answered;
  });
}

void ThreadPool::nudge(unsigned index) {
  for (const auto& worker : workers_) {
    if (worker->index() == index) queue_->nudge(worker->sleeper());
  }
}

void ThreadPool::cancel(ConnectionId connection, RunChain& cancelled) {
  queue_->cancel(connection, cancelled);
  for (const auto& worker : workers_) worker->cancel_tasks_of(connection);
}

void ThreadPool::surrender(std::vector<RunPtr>& ended, std::vector<RunPtr>& undone) {
  undone.reserve(undone.size() + taken_back_.size());
  std::ranges::move(taken_back_, std::back_inserter(undone));
  taken_back_.clear();
  queue_->take_all(undone);
  for (const auto* workers : {&workers_, &stuck_}) {
    for (const auto& worker : *workers) {
      worker->take_back_if_begun_by(kNever, ended, undone);
    }
  }
}

void ThreadPool::copy_running(std::vector<RunPtr>& copies) {
  for (const auto* workers : {&workers_, &stuck_}) {
    for (const auto& worker : *workers) {
      if (RunPtr copy = worker->copy_running()) copies.push_back(std::move(copy));
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

std::vector<ThreadPool::Seen> ThreadPool::look() {
  std::vector<Seen> all;
  all.reserve(workers_.size() + stuck_.size());
  for (const auto* workers : {&workers_, &stuck_}) {
    for (const auto& worker : *workers) all.push_back({worker->index(), worker->running()});
  }
  return all;
}

void ThreadPool::shutdown() {
  if (queue_ == nullptr) return;
  queue_->close();
  for (const auto* workers : {&workers_, &stuck_}) {
    for (const auto& worker : *workers) worker->expect_end();
  }
  workers_.clear();  // joins each
  stuck_.clear();
  queue_.reset();
}

}  // namespace pool_server
