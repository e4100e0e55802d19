#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/handler.h"
#include "core/run_chain.h"
#include "pool/completion_queue.h"
#include "pool/task_queue.h"
#include "pool/worker.h"

namespace pool_server {

// The workers and their queue. All calls from the thread that made it (the loop).
class ThreadPool {
 public:
  // Starts `workers` workers, or as many as can be had (see start_failure()). Throws
  // std::system_error, or what make_handler threw, when not even one can be started;
  // std::bad_alloc.
  ThreadPool(unsigned workers, std::size_t queue_capacity, HandlerFactory make_handler,
             CompletionQueue& completions);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() { shutdown(); }

  TaskQueue& queue() { return *queue_; }
  unsigned size() const { return static_cast<unsigned>(workers_.size()); }

  // Starts workers, or ends idle ones, until there are `wanted` (1 or more). Never ends a busy one,
  // and a thread that cannot be created is no failure: both leave size() short of `wanted`.
  // Ending an idle worker joins it, which takes as long as a thread needs to return.
  void resize(unsigned wanted);
  // Why the last resize could not start a worker; empty when it could.
  const std::string& start_failure() const { return start_failure_; }

  // How long tasks may take.
  struct Patience {
    TimeUs task_timeout = 0;  // µs; 0: no limit, and no worker is ever taken for stuck
    unsigned max_stuck = 0;   // workers given up for stuck and replaced, at once
    TimeUs least_grace = 0;   // µs that a handler may need to come back when it was told to
  };
  // What a look after the workers found. Whoever asked empties it; what a look that threw had found
  // by then stays for the next.
  struct Inspection {
    std::vector<Worker::Running> overdue;  // marked answered just now: to be answered
    std::vector<RunPtr> ended;           // results that a long task kept waiting, and expired tasks
    std::vector<Worker::Running> stuck;  // their workers were given up and replaced just now
    // Every worker is past saving, and no more may be replaced.
    bool no_progress_possible = false;
    TimeUs look_again_at = kNever;

    void look_again_by(TimeUs at) { look_again_at = std::min(look_again_at, at); }
  };
  // Gives up tasks that run or wait too long, replaces workers that do not come back from such a
  // task, frees what a long task holds up, and wakes idle workers for waiting tasks in case the
  // estimates were wrong. `outstanding`: tasks pushed whose completion the caller has not got;
  // `estimated_task`: what a task takes at present, in µs.
  void inspect(TimeUs now, const Patience& patience, std::size_t outstanding, double estimated_task,
               Inspection& found);
  // The worker of that index has come back from a task that was answered without it. If it was
  // given up, it is ending, and joined here.
  void came_back(unsigned index);
  unsigned stuck() const { return static_cast<unsigned>(stuck_.size()); }
  // Some worker runs a task that is not overdue, or none is needed: nothing but time is missing.
  bool can_progress();

  // Has the worker of that index, if there is one, prepare for its next task anew.
  void nudge(unsigned index);

  // Takes the queued tasks of a client that left out of the queue into `cancelled`, and sets the
  // stop token of its running ones.
  void cancel(ConnectionId connection, RunChain& cancelled);
  // Gives up the work that has not begun: it goes to `undone`, and what has ended to `ended`. A
  // task in transit between queue and worker may be missed: call again while some are unaccounted
  // for.
  void surrender(std::vector<RunPtr>& ended, std::vector<RunPtr>& undone);
  // Appends copies of what is running for a client that still waits.
  void copy_running(std::vector<RunPtr>& copies);
  void cancel_all();  // sets every stop token
  std::vector<Worker::Running> running();

  // What each worker does just now; those that were given up come last.
  struct Seen {
    unsigned worker = 0;
    std::optional<Worker::Running> running;
  };
  std::vector<Seen> look();

  // Runs what is queued, joins every worker, and destroys queue, mutexes and condition variables.
  // Returns only then. No other call is allowed afterwards, but calling it again has no effect.
  void shutdown();

 private:
  // The first half of making a pool: what it has made is shut down when the second half throws.
  ThreadPool(std::size_t queue_capacity, HandlerFactory make_handler, CompletionQueue& completions);

  bool start_one();
  void add_worker();
  bool index_in_use(unsigned index) const;
  void cut_taken_back();
  void quarantine(std::span<const Worker::Running> stuck);

  HandlerFactory make_handler_;
  CompletionQueue& completions_;
  std::unique_ptr<TaskQueue> queue_;
  std::vector<std::unique_ptr<Worker>> workers_;
  // Given up and replaced; they retire when they come back. Ended before the queue is.
  std::vector<std::unique_ptr<Worker>> stuck_;
  std::vector<RunPtr> taken_back_;  // not empty between calls only if one of them threw
  std::string start_failure_;
};

}  // namespace pool_server
