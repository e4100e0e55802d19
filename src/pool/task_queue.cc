#include "pool/task_queue.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "sys/clock.h"

namespace pool_server {

namespace {

// A batch is about this much estimated work, so that what is popped with other runs is not kept
// from a worker that falls idle meanwhile.
constexpr double kBatchWork = 100;  // µs
// Waking a worker costs the loop a few µs; one that is awake does this much work in the time.
constexpr double kWorkPerWorker = 100;  // µs
// A worker that popped this recently is taken to come back soon.
constexpr TimeUs kFreshPop = 100;  // µs

}  // namespace

void TaskQueue::SleeperList::push(Sleeper& sleeper) {
  sleeper.older = youngest_;
  sleeper.younger = nullptr;
  sleeper.asleep = true;
  (youngest_ == nullptr ? oldest_ : youngest_->younger) = &sleeper;
  youngest_ = &sleeper;
  ++size_;
}

TaskQueue::Sleeper* TaskQueue::SleeperList::take(Sleeper* sleeper) {
  if (sleeper == nullptr) return nullptr;
  (sleeper->older == nullptr ? oldest_ : sleeper->older->younger) = sleeper->younger;
  (sleeper->younger == nullptr ? youngest_ : sleeper->younger->older) = sleeper->older;
  --size_;
  sleeper->asleep = false;
  return sleeper;
}

TaskQueue::TaskQueue(std::size_t capacity) : tasks_(capacity) {}

void TaskQueue::expect_slots(std::size_t slots) {
  const MutexLock lock(mutex_);
  tasks_.expect_slots(slots);
  standing_waits_.expect_slots(slots);
  slots_ = std::max(slots_, slots);
}

bool TaskQueue::push(RunPtr run) {
  const MutexLock lock(mutex_);
  ++blocked_pushers_;
  while (!closed_ && tasks_.free() < run->size()) not_full_.wait(mutex_);
  --blocked_pushers_;
  if (closed_) return false;
  tasks_.push(std::move(run));
  wake_up_to(1);
  return true;
}

bool TaskQueue::try_push(RunPtr& run) {
  const MutexLock lock(mutex_);
  if (closed_ || tasks_.free() < run->size()) return false;
  tasks_.push(std::move(run));
  wake_up_to(1);
  return true;
}

TaskQueue::Level TaskQueue::push_all(std::vector<RunPtr>& runs, double estimated_task, TimeUs now) {
  const MutexLock lock(mutex_);
  assert(!closed_);
  estimated_task_ = estimated_task;
  for (RunPtr& run : runs) tasks_.push(std::move(run));
  runs.clear();
  const std::size_t wanted = workers_wanted();
  wake_up_to(wanted - std::min(wanted, at_hand(now)));
  return level_locked();
}

std::size_t TaskQueue::pop(Sleeper& sleeper, std::span<RunPtr> batch, TimeUs now,
                           bool& loop_waits_for_room) {
  const MutexLock lock(mutex_);
  while (tasks_.empty() && !closed_ && !sleeper.retired && !sleeper.nudged) {
    sleeper.woken = false;
    if (last_popper_ == &sleeper) last_popper_ = nullptr;
    idle_.push(sleeper);
    while (!sleeper.woken) sleeper.wake.wait(mutex_);
    --on_the_way_;
    now = monotonic_now();
  }
  if (sleeper.retired) {
    if (last_popper_ == &sleeper) last_popper_ = nullptr;
    return 0;
  }
  if (std::exchange(sleeper.nudged, false)) {
    if (last_popper_ == &sleeper) last_popper_ = nullptr;
    // It may have been woken for a task as well.
    if (!tasks_.empty()) wake_up_to(1);
    return kNudged;
  }
  last_popper_ = &sleeper;
  last_pop_ = now;
  const std::size_t wanted = batch_size();
  std::size_t count = 0;
  for (std::size_t to_run = 0; to_run < wanted && count < batch.size() && !tasks_.empty();) {
    Run& run = *(batch[count++] = tasks_.pop());
    mark_if_shed(run, now);
    if (run.shed == Run::Shed::kNo) to_run += run.size();
  }
  if (count > 0) room_was_made();
  loop_waits_for_room = std::exchange(loop_waits_for_room_, false);
  return count;
}

void TaskQueue::give_back(std::vector<RunPtr>& runs) {
  const MutexLock lock(mutex_);
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) tasks_.push_front(std::move(*run));
  runs.clear();
  wake_up_to(tasks_.items());
}

void TaskQueue::cancel(ConnectionId connection, RunChain& cancelled) {
  const MutexLock lock(mutex_);
  tasks_.cancel(connection, [&](RunPtr run) { cancelled.push(std::move(run)); });
  room_was_made();
}

void TaskQueue::take_all(std::vector<RunPtr>& runs) {
  const MutexLock lock(mutex_);
  runs.reserve(runs.size() + tasks_.items());
  while (RunPtr run = tasks_.pop()) runs.push_back(std::move(run));
  room_was_made();
}

TaskQueue::Level TaskQueue::wake_for_waiting(double estimated_task) {
  const MutexLock lock(mutex_);
  estimated_task_ = estimated_task;
  wake_up_to(tasks_.items());
  return level_locked();
}

TaskQueue::Level TaskQueue::tell_when_room() {
  const MutexLock lock(mutex_);
  loop_waits_for_room_ = true;
  return level_locked();
}

TaskQueue::Level TaskQueue::level() {
  const MutexLock lock(mutex_);
  return level_locked();
}

void TaskQueue::set_capacity(std::size_t capacity) {
  const MutexLock lock(mutex_);
  tasks_.set_capacity(capacity);
  room_was_made();
}

StandingWaits TaskQueue::standing_waits(TimeUs target) {
  const MutexLock lock(mutex_);
  StandingWaits waits(target);
  waits.expect_slots(slots_);
  return waits;
}

void TaskQueue::set_wait_limits(TimeUs limit, StandingWaits waits) {
  const MutexLock lock(mutex_);
  wait_limit_ = limit;
  standing_waits_ = std::move(waits);
}

TimeUs TaskQueue::take_expired(TimeUs now, std::vector<RunPtr>& expired) {
  const MutexLock lock(mutex_);
  if (wait_limit_ == 0) return kNever;
  const std::size_t most = expired.size() + tasks_.items();
  if (most > expired.capacity()) expired.reserve(std::max(most, 2 * expired.capacity()));
  const std::size_t before = expired.size();
  const TimeUs oldest = tasks_.take_accepted_by(now - wait_limit_, [&](RunPtr run) {
    run->shed = Run::Shed::kWaitedTooLong;
    expired.push_back(std::move(run));
  });
  if (expired.size() > before) room_was_made();
  // Not at each single run's time: a scan is linear in the connections that wait.
  return oldest == kNever ? kNever : std::max(oldest + wait_limit_, now + wait_limit_ / 16);
}

// Before a worker wastes its time on what nobody waits for any more.
void TaskQueue::mark_if_shed(Run& run, TimeUs now) {
  const TimeUs waited = now - run.accepted_at;
  const bool standing = standing_waits_.sheds(run.connection.slot, now, waited);
  if (wait_limit_ > 0 && waited >= wait_limit_) {
    run.shed = Run::Shed::kWaitedTooLong;
  } else if (standing) {
    run.shed = Run::Shed::kStandingWait;
  }
}

void TaskQueue::leave(const Sleeper& sleeper) {
  const MutexLock lock(mutex_);
  if (last_popper_ == &sleeper) last_popper_ = nullptr;
}

TaskQueue::Sleeper* TaskQueue::retire_one() {
  const MutexLock lock(mutex_);
  Sleeper* oldest = idle_.pop_oldest();
  if (oldest == nullptr) return nullptr;
  oldest->retired = true;
  wake(*oldest);
  return oldest;
}

void TaskQueue::nudge(Sleeper& sleeper) {
  const MutexLock lock(mutex_);
  sleeper.nudged = true;
  if (sleeper.asleep) wake(*idle_.take(&sleeper));
}

void TaskQueue::close() {
  const MutexLock lock(mutex_);
  closed_ = true;
  wake_up_to(idle_.size());
  not_full_.notify_all();
}

std::size_t TaskQueue::at_hand(TimeUs now) const {
  const bool back_soon = last_popper_ != nullptr && now - last_pop_ < kFreshPop;
  return on_the_way_ + (back_soon ? 1 : 0);
}

std::size_t TaskQueue::batch_size() const {
  const auto by_work = static_cast<std::size_t>(kBatchWork / std::max(estimated_task_, 0.1));
  // Leave the idle their share, as far as they are wanted.
  const std::size_t others = std::min(idle_.size(), std::max<std::size_t>(workers_wanted(), 1) - 1);
  const std::size_t share = (tasks_.size() + others) / (others + 1);
  return std::max<std::size_t>(std::min(by_work, share), 1);
}

// For what waits, by its estimated work.
std::size_t TaskQueue::workers_wanted() const {
  const double work = static_cast<double>(tasks_.size()) * estimated_task_;
  const auto by_work =
      static_cast<std::size_t>(std::clamp(std::ceil(work / kWorkPerWorker), 1.0, 1e6));
  return std::min(by_work, tasks_.items());
}

void TaskQueue::wake_up_to(std::size_t workers) {
  for (; workers > 0 && !idle_.empty(); --workers) wake(*idle_.pop_youngest());
}

void TaskQueue::wake(Sleeper& sleeper) {
  sleeper.woken = true;
  ++on_the_way_;
  sleeper.wake.notify_one();
}

void TaskQueue::room_was_made() {
  if (blocked_pushers_ > 0 && tasks_.free() > 0) not_full_.notify_all();
}

TaskQueue::Level TaskQueue::level_locked() {
  const Run* next = tasks_.front();
  return {tasks_.size(), tasks_.free(), idle_.size(), next == nullptr ? kNever : next->accepted_at};
}

}  // namespace pool_server
