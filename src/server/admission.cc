#include "server/admission.h"

#include <algorithm>
#include <utility>

#include "core/protocol.h"
#include "core/task_chain.h"

namespace pool_server {

namespace {

// Weight of the newest task in the moving average of run times.
constexpr double kAlpha = 1.0 / 16;
// One long task must not hide for long that the others are short.
constexpr double kLongestSample = 10'000;  // µs

}  // namespace

Admission::Admission(ThreadPool& pool, ConnectionTable& connections, TaskRecycler& recycler,
                     Counters& counters, std::function<std::size_t(std::size_t)> longest_reply)
    : pool_(pool),
      connections_(connections),
      recycler_(recycler),
      counters_(counters),
      longest_reply_(std::move(longest_reply)),
      estimated_run_(kLongestSample) {}

void Admission::expect_slots(std::size_t slots) {
  if (slots <= expected_slots_) return;
  slots = std::max(slots, 2 * expected_slots_);
  pool_.queue().expect_slots(slots);
  expected_slots_ = slots;
}

Admission::Verdict Admission::admit(Connection& connection, std::string_view line, TimeUs now,
                                    Overload overload) {
  const std::size_t charge = line.size() + protocol::kLongestPrefix + longest_reply_(line.size());
  if (charge > connection.room_to_admit()) {
    return overload == Overload::kReject ? Verdict::kBusy : Verdict::kNoMemory;
  }
  // Those who wait come first, and each of them gets its share.
  const bool its_turn = resuming_ ? share_ > 0 : waiting_.empty();
  if (overload == Overload::kReject) {
    if (!its_turn || !may_enter(connection, now)) return Verdict::kBusy;
  } else if (!its_turn || !has_room()) {
    waiting_.push_back(connection.id());
    return Verdict::kWait;
  }
  if (resuming_) --share_;
  --room_;
  TaskPtr task = recycler_.take();
  task->connection = connection.id();
  task->sequence = connection.writer().reserve(charge);
  task->charge = charge;
  task->number = next_number_++;
  task->serial = connection.serial();
  task->text.assign(line);
  task->accepted_at = now;
  staged_.push_back(std::move(task));
  ++outstanding_;
  return Verdict::kAdmitted;
}

void Admission::resume_waiting(const RoundBudget& budget) {
  room_is_fresh_ = false;
  if (waiting_.empty()) return;
  const std::size_t free = pool_.queue().tell_when_room().free;
  room_ = free - std::min(free, staged_.size());
  room_is_fresh_ = true;
  resuming_ = true;
  for (std::size_t left = waiting_.size(); left > 0 && room_ > 0 && !budget.used_up(); --left) {
    Connection* connection = connections_.find(waiting_.front());
    waiting_.pop_front();
    share_ = std::max<std::size_t>(room_ / left, 1);
    if (connection != nullptr) connection->resume();
  }
  resuming_ = false;
}

bool Admission::submit(TimeUs now) {
  if (staged_.empty()) return false;
  const TaskQueue::Level level = pool_.queue().push_all(staged_, estimated_run_, now);
  room_ = level.free;
  room_is_fresh_ = false;
  return true;
}

void Admission::on_ended(const Task& task) {
  --outstanding_;
  if (task.answered) --overdue_;
  if (task.shed != Task::Shed::kNo) return;
  ++ended_;
  const TimeUs run = task.ended_at - task.begun_at;
  busy_time_ += run;
  // How many are handed over at once is to depend on the work, and not on the way to it.
  const TimeUs work = task.work > 0 ? std::min(task.work, run) : run;
  const double sample = std::min(static_cast<double>(work), kLongestSample);
  estimated_run_ += (sample - estimated_run_) * (std::exchange(estimate_known_, true) ? kAlpha : 1);
}

void Admission::cancel(ConnectionId connection) {
  TaskChain cancelled;  // takes no memory: the connection may be going for want of it
  pool_.cancel(connection, cancelled);
  for (TaskPtr& task : staged_) {
    if (task->connection == connection) cancelled.push(std::move(task));
  }
  std::erase(staged_, nullptr);
  outstanding_ -= cancelled.size();
  counters_.cancelled += cancelled.size();
  while (TaskPtr task = cancelled.pop()) recycler_.give(std::move(task));
}

bool Admission::has_room() {
  if (room_ == 0) look_for_room();
  return room_ > 0;
}

// Where the queue may refuse, it is shared while room is short.
bool Admission::may_enter(const Connection& connection, TimeUs now) {
  if (room_ <= capacity_ / 2) look_for_room();
  return share_of_room_.admits(connection.id().slot, connection.writer().unanswered(), room_,
                               capacity_, now);
}

// At most once a round: what was free then is free still.
void Admission::look_for_room() {
  if (std::exchange(room_is_fresh_, true)) return;
  const TaskQueue::Level level = pool_.queue().level();
  room_ = level.free - std::min(level.free, staged_.size());
  capacity_ = level.depth + level.free;
}

}  // namespace pool_server
