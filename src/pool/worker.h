#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/handler.h"
#include "core/run.h"
#include "core/task_notes.h"
#include "pool/completion_queue.h"
#include "pool/task_queue.h"
#include "sys/mutex.h"
#include "sys/thread.h"

namespace pool_server {

// One thread of the pool and what the loop may know and do about the task it runs.
//
// The thread pops a batch of runs from the TaskQueue, has its handler do each of their tasks, and
// posts what ended to the CompletionQueue. It touches no descriptor (the eventfd of the
// CompletionQueue aside, and what its handler has of its own) and does not log: timings ride back
// inside the run.
//
// What the thread has popped stays visible to the loop under mutex_, so that a task which turns out
// long keeps neither the results before it nor the tasks after it: the loop takes them back.
class Worker {
 public:
  // Starts the thread. Throws std::system_error when it cannot be created.
  Worker(unsigned index, TaskQueue& queue, CompletionQueue& completions,
         std::unique_ptr<Handler> handler);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() = default;  // joins: the queue must be closed or the worker retired before

  static std::string name(unsigned index) { return "worker-" + std::to_string(index); }
  unsigned index() const { return index_; }
  const TaskQueue::Sleeper& sleeper() const { return sleeper_; }
  TaskQueue::Sleeper& sleeper() { return sleeper_; }

  // The rest is for the loop thread.

  struct Running {
    ConnectionId connection;
    std::uint64_t sequence = 0;
    std::uint64_t number = 0;
    std::uint64_t serial = 0;  // of the connection
    std::size_t charge = 0;
    TimeUs begun_at = 0;
    TimeUs waited = 0;
    unsigned worker = 0;
    bool answered = false;
    TimeUs told_to_stop_at = 0;  // when it was answered in its place
  };
  std::optional<Running> running() PS_EXCLUDES(mutex_);

  // How long a task may take, in µs.
  struct Patience {
    TimeUs task_timeout = 0;   // 0: as long as it likes, and it is never past saving
    TimeUs grace = 0;          // from when it was told to stop
    bool may_give_up = false;  // a worker that lets it pass: another can take its place
  };
  struct Verdict {
    // Its time is over: its stop token is set and it is marked answered, which the caller now has
    // to do. Nullopt: it has time left, was told before, or there is none.
    std::optional<Running> overdue;
    // It did not come back in its grace. Given up, this worker begins nothing any more and ends
    // when it comes back; else it goes on then as if nothing had been.
    std::optional<Running> past_saving;
    bool given_up = false;
    TimeUs look_again_at = kNever;
  };
  // Judges the running task and does what follows, in one step: whatever the thread does meanwhile,
  // it is given up only while it is in the task that it is given up for. A look that comes late
  // gives it half its grace again, once.
  Verdict judge(TimeUs now, const Patience& patience) PS_EXCLUDES(mutex_);
  // It was given up and has come back: the thread posts what it has and ends.
  bool is_ending() PS_EXCLUDES(mutex_);

  // Sets the stop token of whatever `connection` has here, begun or still in the batch.
  void cancel_tasks_of(ConnectionId connection) PS_EXCLUDES(mutex_);
  void cancel_all() PS_EXCLUDES(mutex_);

  // The queue is closed: nothing but tasks is to be waited for any more.
  void expect_end() PS_EXCLUDES(mutex_);

  // A copy of the request that is running, unless its client has been answered; null: there is
  // none.
  RunPtr copy_running() PS_EXCLUDES(mutex_);

  // While the running task, or the batch that it is of, began at `begun_by` or earlier: appends the
  // results it keeps waiting to `ended` and the tasks it keeps waiting to `unbegun`, so that it is
  // alone, but for what its handler has reserved. Throws std::bad_alloc, and has lost nothing then.
  void take_back_if_begun_by(TimeUs begun_by, std::vector<RunPtr>& ended,
                             std::vector<RunPtr>& unbegun) PS_EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kMaxBatch = 128;            // runs popped at a time
  static constexpr std::size_t kMostRuns = kMaxBatch + 8;  // that become of them, nearly always

  class Token final : public StopToken {
   public:
    explicit Token(Worker& worker) : worker_(worker) {}
    bool stop_requested() const override;

   private:
    Worker& worker_;
  };

  // Whether preparing for a task makes sense any more.
  class Closing final : public StopToken {
   public:
    explicit Closing(Worker& worker) : worker_(worker) {}
    bool stop_requested() const override;

   private:
    Worker& worker_;
  };

  // What the handler may have of the batch before its turn.
  class Ahead final : public Upcoming {
   public:
    explicit Ahead(Worker& worker) : worker_(worker) {}
    std::size_t reserve(std::span<std::string_view> texts, std::size_t longest) override;
    void keep_reserved(std::size_t count) noexcept override;
    void was_work(TimeUs work) noexcept override;

   private:
    Worker& worker_;
  };

  // The thread's side of what the handler logs.
  class Log final : public TaskLog {
   public:
    explicit Log(Worker& worker) : worker_(worker) {}
    void write(LogLevel level, std::string_view text) noexcept override;
    void failed(std::string_view reason) noexcept override;
    void crashed(std::string_view how, std::string_view last_words) noexcept override;

   private:
    TaskNotes* notes() noexcept;  // null: there is no memory for them

    Worker& worker_;
  };

  // What the thread has in hand.
  struct Current {
    std::string_view text;  // of the run, where it stays until the task has ended
    std::uint64_t number = 0;
    std::uint64_t serial = 0;
    bool alone = false;  // in its run
  };
  // What came of it.
  struct Result {
    std::string text;
    Outcome outcome = Outcome::kOk;
    bool none = false;     // there is but an internal error
    bool is_line = false;  // the text is the whole reply line
    bool failed = false;
    bool crashed = false;
    std::unique_ptr<TaskNotes> notes;  // null: none, or there was no memory for them
  };

  void run();
  bool prepare();
  // Begins the first task of the `count` runs in popped_. False, here and in the next two: none is
  // left to be done, and outbox_ holds what has ended.
  bool begin_batch(std::size_t count, TimeUs now) PS_EXCLUDES(mutex_);
  // Ends the running task and begins the next. `last`: this worker was given up, and has to end.
  bool end_task(TimeUs now, bool& last) PS_EXCLUDES(mutex_);
  bool begin_run(TimeUs now) PS_REQUIRES(mutex_);
  void begin_task(TimeUs now) PS_REQUIRES(mutex_);
  void add_reply() noexcept PS_REQUIRES(mutex_);
  void compute();
  void clear_result() noexcept;
  template <class Visit>
  void for_each_ahead(Visit visit) const PS_REQUIRES(mutex_);
  void make_room_to_set_apart() PS_REQUIRES(mutex_);
  void set_running_apart() PS_REQUIRES(mutex_);
  std::size_t set_reserved_apart() PS_REQUIRES(mutex_);
  Verdict judge_running(TimeUs now, const Patience& patience) PS_EXCLUDES(mutex_);
  Running describe() const PS_REQUIRES(mutex_);

  const unsigned index_;
  TaskQueue& queue_;
  CompletionQueue& completions_;
  Log log_{*this};  // worker thread only
  Ahead ahead_{*this};
  const std::unique_ptr<Handler> handler_;
  const Token token_{*this};
  const Closing closing_token_{*this};
  TaskQueue::Sleeper sleeper_;

  std::array<RunPtr, kMaxBatch> popped_;  // worker thread only
  std::vector<RunPtr> outbox_;            // worker thread only
  Current current_;                       // written by it under mutex_, and only then
  Result result_;                         // worker thread only

  Mutex mutex_;
  std::vector<RunPtr> unbegun_ PS_GUARDED_BY(mutex_);  // the next one last
  std::vector<RunPtr> ended_ PS_GUARDED_BY(mutex_);
  RunPtr running_ PS_GUARDED_BY(mutex_);
  std::size_t done_ PS_GUARDED_BY(mutex_) = 0;     // of its tasks, those that have ended
  std::size_t text_at_ PS_GUARDED_BY(mutex_) = 0;  // byte at which that of the running one begins
  TimeUs begun_at_ PS_GUARDED_BY(mutex_) = 0;      // the running task
  TimeUs batch_begun_at_ PS_GUARDED_BY(mutex_) = 0;
  TimeUs work_ PS_GUARDED_BY(mutex_) = 0;  // spent on it, as its handler tells; 0: it has not
  // Of the tasks that come next, so many are the handler's already. Not 0 for longer than it takes
  // a handler to see that a task is long.
  std::size_t reserved_ PS_GUARDED_BY(mutex_) = 0;
  bool stop_requested_ PS_GUARDED_BY(mutex_) = false;
  TimeUs told_to_stop_at_ PS_GUARDED_BY(mutex_) = 0;   // meaningful while running_ is answered,
  bool had_more_grace_ PS_GUARDED_BY(mutex_) = false;  // as is this
  bool given_up_ PS_GUARDED_BY(mutex_) = false;        // then running_ is its last run
  bool closing_ PS_GUARDED_BY(mutex_) = false;

  Thread thread_;  // last: it uses all of the above from its first instruction on
};

}  // namespace pool_server
