#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "core/fair_share.h"
#include "core/options.h"
#include "core/stats.h"
#include "net/connection.h"
#include "pool/run_recycler.h"
#include "pool/thread_pool.h"

namespace pool_server {

// Decides for each request whether it becomes a task now, cuts the tasks of each connection into
// runs by estimated work, and hands a round's runs to the pool in one go. Loop thread only.
//
// The loop is the queue's only producer, so room that was seen stays (but see forget_room()): what
// is staged here always fits when it is submitted. A connection whose request does not fit waits in
// line; those who wait are served in turn, each an equal share of the room there is.
class Admission {
 public:
  // `longest_reply`: as HandlerModule's.
  Admission(ThreadPool& pool, RunRecycler& recycler, Counters& counters,
            std::function<std::size_t(std::size_t)> longest_reply);

  // Connections in slots below `slots` may come with requests. Throws std::bad_alloc, and has
  // changed nothing then; their requests need no memory of the queue afterwards.
  void expect_slots(std::size_t slots);

  enum class Verdict : unsigned char {
    kAdmitted,
    kWait,      // the queue is full: the connection is in line, see next_in_line()
    kNoMemory,  // not for this connection now (see MemoryBudget): it is to be offered again
    // The queue is full, or nearly and the connection has had its share, or memory is short: and
    // --overload says to refuse.
    kBusy,
  };
  // Stages the request as a task, if there is room for it. `overload`: what to do if not.
  Verdict admit(Connection& connection, std::string_view line, TimeUs now, Overload overload);

  // End of round: those in line may go on, as far as there is room. next_in_line() gives one after
  // the other, each of whom gets its share of the room when it is visited next; nullopt: that was
  // all.
  void begin_turns();
  std::optional<ConnectionId> next_in_line();
  void end_turns() { in_turn_ = false; }
  // One that was put back has closed. Now and then its like are taken out of line, which may not
  // move for long.
  void on_waiter_gone(const std::function<bool(ConnectionId)>& is_open);
  // End of round: hands what is staged to the pool. True: there was something.
  bool submit(TimeUs now);

  // A run has come back.
  void on_ended(const Run& run);
  // A client left with work under way: nobody is to spend time on it.
  void cancel(ConnectionId connection);

  // The queue's capacity may have changed, or tasks were put back into it: what room was seen is no
  // promise any more. Between rounds only, while nothing is staged.
  void forget_room() { room_ = 0, room_is_fresh_ = false; }

  std::size_t outstanding() const { return outstanding_; }  // accepted and not come back
  // ... and whose client has not been answered either.
  std::size_t awaited() const { return outstanding_ - overdue_; }
  std::size_t in_line() const { return waiting_.size(); }  // some of whom may have gone
  // A task was answered without having come back.
  void on_overdue() { ++overdue_; }
  std::size_t staged() const { return tasks_in(staged_); }   // tasks
  std::uint64_t ended() const { return ended_; }             // tasks that ran and came back
  double estimated_task() const { return estimated_task_; }  // µs, of a task at present
  TimeUs busy_time() const { return busy_time_; }            // µs of run time of all that ended

 private:
  Run& run_for(const Connection& connection, std::uint64_t sequence, std::size_t bytes, TimeUs now);
  bool has_room();
  bool may_enter(const Connection& connection, TimeUs now);
  void look_for_room();

  ThreadPool& pool_;
  RunRecycler& recycler_;
  Counters& counters_;
  const std::function<std::size_t(std::size_t)> longest_reply_;

  std::vector<RunPtr> staged_;
  std::deque<ConnectionId> waiting_;
  std::size_t gone_ =
      0;  // closed since those were last taken out; as many as are in there, or more
  FairShare share_of_room_;     // where requests are refused
  std::size_t room_ = 0;        // of the queue as last seen, less what is staged
  std::size_t capacity_ = 0;    // of the queue as last seen
  bool room_is_fresh_ = false;  // seen in this round
  bool in_turn_ = false;        // who asks is one of those in line, whose turn it is
  std::size_t turns_left_ = 0;  // of those who were in line when the turns began
  std::size_t share_ = 0;       // of the connection whose turn it is
  std::size_t outstanding_ = 0;
  std::size_t expected_slots_ = 0;  // by the queue
  std::uint64_t next_number_ = 1;
  double estimated_task_;  // µs, moving average
  bool estimate_known_ = false;
  std::size_t longest_run_ = 1;  // tasks
  TimeUs busy_time_ = 0;
  std::uint64_t ended_ = 0;
  std::size_t overdue_ = 0;  // answered, and not come back
};

}  // namespace pool_server
