#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/handler.h"
#include "pool/completion_queue.h"
#include "pool/task_queue.h"
#include "pool/worker.h"

namespace pool_server {

// The workers and their queue. All calls from the thread that made it (the loop).
class ThreadPool {
 public:
  // Starts `workers` workers, or as many as can be had (see start_failure()). Throws
  // std::system_error, or what make_handler threw, when not even one can be started.
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

  // What a look after the workers found.
  struct Inspection {
    std::vector<Worker::Running> overdue;  // marked answered just now: to be answered
    std::vector<TaskPtr> ended;            // results that a long task kept waiting
    TimeUs look_again_at = kNever;
  };
  // Gives up tasks that run for `task_timeout` µs (0: none), frees what a long task holds up, and
  // wakes idle workers for waiting tasks in case the estimates were wrong. `work_outstanding`: a
  // task may begin before the next look.
  void inspect(TimeUs now, TimeUs task_timeout, bool work_outstanding, Inspection& found);

  // Takes the queued tasks of a client that left out of the queue into `cancelled`, and sets the
  // stop token of its running ones.
  void cancel(ConnectionId connection, std::vector<TaskPtr>& cancelled);
  void cancel_all();  // sets every stop token
  std::vector<Worker::Running> running();

  // Runs what is queued, joins every worker, and destroys queue, mutexes and condition variables.
  // Returns only then. No other call is allowed afterwards, but calling it again has no effect.
  void shutdown();

 private:
  bool start_one();

  HandlerFactory make_handler_;
  CompletionQueue& completions_;
  std::unique_ptr<TaskQueue> queue_;
  std::vector<std::unique_ptr<Worker>> workers_;  // ascending by index()
  std::vector<TaskPtr> taken_back_;
  std::string start_failure_;
};

}  // namespace pool_server
