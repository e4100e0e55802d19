#include "server/admission.h"

#include <algorithm>
#include <utility>

#include "core/protocol.h"
#include "core/run_chain.h"

namespace pool_server {

namespace {

// Of one connection so much estimated work goes together: a worker that others wait for is back
// soon, and a client that has one request waits for a run of each of the others at most.
constexpr double kRunWork = 20;  // µs
constexpr double kMostTasks = 64;
constexpr std::size_t kMostText = 64 * 1024;  // bytes
// Weight of the newest task in the moving average of run times.
constexpr double kAlpha = 1.0 / 16;
// One long task must not hide for long that the others are short.
constexpr double kLongestSample = 10'000;  // µs

}  // namespace

Admission::Admission(ThreadPool& pool, RunRecycler& recycler, Counters& counters,
                     std::function<std::size_t(std::size_t)> longest_reply)
    : pool_(pool),
      recycler_(recycler),
      counters_(counters),
      longest_reply_(std::move(longest_reply)),
      estimated_task_(kLongestSample) {}

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
  const bool its_turn = in_turn_ ? share_ > 0 : waiting_.empty();
  if (overload == Overload::kReject) {
    if (!its_turn || !may_enter(connection, now)) return Verdict::kBusy;
  } else if (!its_turn || !has_room()) {
    waiting_.push_back(connection.id());
    return Verdict::kWait;
  }
  if (in_turn_) --share_;
  --room_;
  const std::uint64_t sequence = connection.reserve(charge);
  Run& run = run_for(connection, sequence, line.size(), now);
  run.add(line);
  run.charge += charge;
  ++next_number_;
  ++outstanding_;
  return Verdict::kAdmitted;
}

// The last one, if the line is the next of its connection and there is room for it; or a new one.
Run& Admission::run_for(const Connection& connection, std::uint64_t sequence, std::size_t bytes,
                        TimeUs now) {
  if (!staged_.empty()) {
    Run& last = *staged_.back();
    if (last.connection == connection.id() && last.end() == sequence &&
        last.size() < longest_run_ && last.text.size() + bytes <= kMostText) {
      return last;
    }
  }
  staged_.push_back(recycler_.take());
  Run& run = *staged_.back();
  run.connection = connection.id();
  run.sequence = sequence;
  run.number = next_number_;
  run.serial = connection.serial();
  run.accepted_at = now;
  return run;
}

void Admission::begin_turns() {
  room_is_fresh_ = false;
  turns_left_ = waiting_.size();
  if (waiting_.empty()) return;
  const std::size_t free = pool_.queue().tell_when_room().free;
  room_ = free - std::min(free, staged());
  room_is_fresh_ = true;
  in_turn_ = true;
}

std::optional<ConnectionId> Admission::next_in_line() {
  if (turns_left_ == 0 || room_ == 0) return std::nullopt;
  share_ = std::max<std::size_t>(room_ / turns_left_--, 1);
  const ConnectionId next = waiting_.front();
  waiting_.pop_front();
  return next;
}

// Each look at all in line is paid for by half as many who have gone.
void Admission::on_waiter_gone(const std::function<bool(ConnectionId)>& is_open) {
  ++gone_;
  if (in_turn_ || gone_ <= waiting_.size() / 2) return;
  std::erase_if(waiting_, [&](ConnectionId id) { return !is_open(id); });
  gone_ = 0;
}

bool Admission::submit(TimeUs now) {
  if (staged_.empty()) return false;
  const TaskQueue::Level level = pool_.queue().push_all(staged_, estimated_task_, now);
  room_ = level.free;
  room_is_fresh_ = false;
  return true;
}

void Admission::on_ended(const Run& run) {
  outstanding_ -= run.size();
  if (run.answered) --overdue_;
  if (run.shed != Run::Shed::kNo) return;
  ended_ += run.size();
  busy_time_ += run.took();
  // How many are handed over at once is to depend on the work, and not on the way to it.
  const double each = static_cast<double>(run.work) / static_cast<double>(run.size());
  const double sample = std::min(each, kLongestSample);
  for (std::size_t i = 0; i < run.size(); ++i) {
    estimated_task_ +=
        (sample - estimated_task_) * (std::exchange(estimate_known_, true) ? kAlpha : 1);
  }
  longest_run_ = static_cast<std::size_t>(
      std::clamp(kRunWork / std::max(estimated_task_, kRunWork / kMostTasks), 1.0, kMostTasks));
}

void Admission::cancel(ConnectionId connection) {
  RunChain cancelled;  // takes no memory: the connection may be going for want of it
  pool_.cancel(connection, cancelled);
  for (RunPtr& run : staged_) {
    if (run->connection == connection) cancelled.push(std::move(run));
  }
  std::erase(staged_, nullptr);
  while (RunPtr run = cancelled.pop()) {
    outstanding_ -= run->size();
    counters_.cancelled += run->size();
    recycler_.give(std::move(run));
  }
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
  room_ = level.free - std::min(level.free, staged());
  capacity_ = level.depth + level.free;
}

}  // namespace pool_server
