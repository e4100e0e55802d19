#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/fair_queue.h"
#include "core/run.h"
#include "core/run_chain.h"
#include "core/standing_wait.h"
#include "sys/mutex.h"

namespace pool_server {

// The bounded queue between the loop and the workers: one mutex round a FairQueue, a condition
// variable for those who wait for room, and one for each idle worker. Tasks come and go in runs
// (core/run.h); its capacity and its levels are in tasks.
//
// Why one for each worker: the queue can then wake exactly as many as the work needs, the one that
// idled the shortest first (its caches are warm, and the others grow old enough to be retired), and
// with a single waiter each no signal can be stolen by another waiter (glibc bug 25847).
//
// No wake-up is lost: whatever a worker waits for (tasks, close, retirement) changes under the
// mutex, and the worker is marked woken under the same mutex before it is signalled. What may
// happen between two such steps is looked at by spin, all of it: tests/model/hand_over.pml.
class TaskQueue {
 public:
  // A worker's place to sleep. Owned by the worker, must outlive its calls of pop().
  class Sleeper {
   private:
    friend class TaskQueue;
    ConditionVariable wake;
    bool woken = false;  // guarded by the queue's mutex, as are the next
    bool retired = false;
    bool nudged = false;
    bool asleep = false;       // in the list of the idle
    Sleeper* older = nullptr;  // those that went to sleep before and after it
    Sleeper* younger = nullptr;
  };

  explicit TaskQueue(std::size_t capacity);

  // Makes room for tasks of connections in slots below `slots`; throws std::bad_alloc, and has
  // changed nothing then. Once it has returned, no task of theirs can fail for want of memory, here
  // or in pop(), where there would be nobody to tell.
  void expect_slots(std::size_t slots) PS_EXCLUDES(mutex_);

  // Blocks while it does not fit. For producers that may block; the loop never calls it. False:
  // closed.
  bool push(RunPtr run) PS_EXCLUDES(mutex_);
  // Never blocks. Moves from `run` only on success; false: it does not fit, or closed.
  bool try_push(RunPtr& run) PS_EXCLUDES(mutex_);

  struct Level {
    std::size_t depth = 0;         // tasks waiting
    std::size_t free = 0;          // how many more would fit
    std::size_t idle = 0;          // workers asleep
    TimeUs oldest_since = kNever;  // when the task that is next in line was accepted
  };
  // The loop's push: all of `runs` under one lock, waking as many workers as the estimated work
  // needs. Empties `runs`; the caller has made sure that they fit. `estimated_task` is what a task
  // takes at present, in µs.
  Level push_all(std::vector<RunPtr>& runs, double estimated_task, TimeUs now) PS_EXCLUDES(mutex_);

  // Blocks while empty, then takes one run or, while they are short, a small batch, into `batch`;
  // those it found shed come in addition.
  // Returns how many runs; 0: the worker has to end; kNudged: it was nudged, and may have something
  // else to do before it comes again. `loop_waits_for_room` tells the worker that the loop asked to
  // hear of this. Allocates nothing, for slots that were expected.
  static constexpr std::size_t kNudged = static_cast<std::size_t>(-1);
  std::size_t pop(Sleeper& sleeper, std::span<RunPtr> batch, TimeUs now, bool& loop_waits_for_room)
      PS_EXCLUDES(mutex_);

  // Puts runs that were popped and not begun back in front, and wakes workers for them.
  void give_back(std::vector<RunPtr>& runs) PS_EXCLUDES(mutex_);
  // Takes out what `connection` has queued and appends it to `cancelled`.
  void cancel(ConnectionId connection, RunChain& cancelled) PS_EXCLUDES(mutex_);
  // Takes out everything, in no particular order, and appends it to `runs`. Throws std::bad_alloc,
  // and has taken nothing then; so does take_expired().
  void take_all(std::vector<RunPtr>& runs) PS_EXCLUDES(mutex_);
  // Wakes a worker for each run that has none. The estimate behind push_all can be wrong.
  Level wake_for_waiting(double estimated_task) PS_EXCLUDES(mutex_);
  // Asks that the loop be woken when a worker next takes a task.
  Level tell_when_room() PS_EXCLUDES(mutex_);
  Level level() PS_EXCLUDES(mutex_);
  void set_capacity(std::size_t capacity) PS_EXCLUDES(mutex_);

  // Tasks that wait longer than `limit` µs (0: no such limit) are not begun any more, and those
  // that `waits` is against. pop() returns them marked.
  void set_wait_limits(TimeUs limit, StandingWaits waits) PS_EXCLUDES(mutex_);
  // For that target, with room for all connections that are expected; throws std::bad_alloc.
  StandingWaits standing_waits(TimeUs target) PS_EXCLUDES(mutex_);
  // Appends the runs that have waited longer than the limit to `expired`, marked. Returns when to
  // look again.
  TimeUs take_expired(TimeUs now, std::vector<RunPtr>& expired) PS_EXCLUDES(mutex_);

  // Makes the worker that has idled longest end. Null when none is idle.
  Sleeper* retire_one() PS_EXCLUDES(mutex_);
  // Has the worker return from pop() once without a task, now or when it next gets there.
  void nudge(Sleeper& sleeper) PS_EXCLUDES(mutex_);
  // That worker, the caller, does not come for a task any more.
  void leave(const Sleeper& sleeper) PS_EXCLUDES(mutex_);
  // No more pushes; pop() hands out what is left and then 0.
  void close() PS_EXCLUDES(mutex_);

 private:
  // Linked through the sleepers: a worker that falls asleep allocates nothing.
  class SleeperList {
   public:
    bool empty() const { return oldest_ == nullptr; }
    std::size_t size() const { return size_; }
    void push(Sleeper& sleeper);  // the youngest now
    // Null when empty.
    Sleeper* pop_youngest() { return take(youngest_); }
    Sleeper* pop_oldest() { return take(oldest_); }
    Sleeper* take(Sleeper* sleeper);  // which is in it

   private:
    Sleeper* oldest_ = nullptr;
    Sleeper* youngest_ = nullptr;
    std::size_t size_ = 0;
  };

  // Until something is known, a task is taken to be long: no batches, a worker for each.
  static constexpr double kUnknownRun = 1e6;

  std::size_t at_hand(TimeUs now) const PS_REQUIRES(mutex_);
  std::size_t batch_size() const PS_REQUIRES(mutex_);
  std::size_t workers_wanted() const PS_REQUIRES(mutex_);
  void wake_up_to(std::size_t workers) PS_REQUIRES(mutex_);
  void wake(Sleeper& sleeper) PS_REQUIRES(mutex_);
  void room_was_made() PS_REQUIRES(mutex_);
  Level level_locked() PS_REQUIRES(mutex_);
  void mark_if_shed(Run& run, TimeUs now) PS_REQUIRES(mutex_);

  Mutex mutex_;
  ConditionVariable not_full_;
  FairQueue<Run> tasks_ PS_GUARDED_BY(mutex_);
  SleeperList idle_ PS_GUARDED_BY(mutex_);
  double estimated_task_ PS_GUARDED_BY(mutex_) = kUnknownRun;  // µs
  TimeUs wait_limit_ PS_GUARDED_BY(mutex_) = 0;
  StandingWaits standing_waits_ PS_GUARDED_BY(mutex_);
  std::size_t slots_ PS_GUARDED_BY(mutex_) = 0;  // expected
  // Who comes for a task without being woken, or has been: not to be woken for.
  std::size_t on_the_way_ PS_GUARDED_BY(mutex_) = 0;            // woken, not here yet
  const Sleeper* last_popper_ PS_GUARDED_BY(mutex_) = nullptr;  // null: it has gone to sleep
  TimeUs last_pop_ PS_GUARDED_BY(mutex_) = 0;
  std::size_t blocked_pushers_ PS_GUARDED_BY(mutex_) = 0;
  bool loop_waits_for_room_ PS_GUARDED_BY(mutex_) = false;
  bool closed_ PS_GUARDED_BY(mutex_) = false;
};

}  // namespace pool_server
