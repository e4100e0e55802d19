#pragma once

#include <vector>

#include "core/options.h"
#include "core/run.h"
#include "core/stats.h"
#include "net/connection_table.h"
#include "pool/completion_queue.h"
#include "pool/thread_pool.h"
#include "server/admission.h"
#include "server/reply_router.h"

namespace pool_server {

// Takes back from the pool what has ended, and looks after what does not end: overdue tasks are
// answered, stuck workers replaced, and a pool that is past saving is reported. Loop thread only.
class PoolWatch {
 public:
  PoolWatch(const Options& options, ThreadPool& pool, CompletionQueue& completions,
            ConnectionTable& connections, Admission& admission, ReplyRouter& router,
            Counters& counters);

  // End of round, last: delivers what has come back. True: there was something, and more may come;
  // otherwise the next completion wakes the loop.
  bool collect(TimeUs now);
  // Work was handed out, or taken.
  void inspect_soon(TimeUs now);
  // End of round. Returns when to come again.
  TimeUs inspect(TimeUs now);
  // The limits on time have changed.
  void reconfigure();

  // No worker can make progress any more.
  bool pool_is_stuck() const { return pool_is_stuck_; }

  // Takes the work back that has not begun, for another process to do: at the begin of a hand-over
  // and in each round of it, as tasks in transit between queue and worker cannot be taken.
  void withdraw();
  // Accepted work whose client waits, less what was withdrawn.
  std::size_t at_work() const { return admission_.awaited() - tasks_in(withdrawn_); }
  // What was withdrawn, and all else that has not ended: what is running is copied.
  std::vector<RunPtr> take_undone_work();
  // At the very end: sets every stop token, and logs what is being given up.
  void report_abandoned_work();

 private:
  void deliver(std::vector<RunPtr>& ended);
  void log_computed(const Run& run);
  void tell_news(const Run& run);
  void tell_notes(const Run& run, std::uint64_t task, bool failed, const TaskNotes* notes);
  void answer_overdue(TimeUs now);
  void tell_overdue(const Worker::Running& task, std::string_view message, TimeUs now);
  void report_stuck();

  const Options& options_;
  ThreadPool& pool_;
  CompletionQueue& completions_;
  ConnectionTable& connections_;
  Admission& admission_;
  ReplyRouter& router_;
  Counters& counters_;

  TimeUs inspect_at_ = kNever;
  bool pool_is_stuck_ = false;
  std::vector<RunPtr> ended_;
  std::vector<RunPtr> withdrawn_;
  ThreadPool::Inspection inspection_;
};

}  // namespace pool_server
