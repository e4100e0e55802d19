#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/handler.h"
#include "core/task.h"
#include "pool/completion_queue.h"
#include "pool/task_queue.h"
#include "sys/mutex.h"
#include "sys/thread.h"

namespace pool_server {

// One thread of the pool and what the loop may know and do about the task it runs.
//
// The thread pops a batch from the TaskQueue, runs its handler on each task, and posts what ended
// to the CompletionQueue. It touches no descriptor (the eventfd of the CompletionQueue aside, and
// what its handler has of its own) and does not log: timings ride back inside the task.
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
  TaskPtr copy_running() PS_EXCLUDES(mutex_);

  // While the running task began at `begun_by` or earlier: appends the results it keeps waiting to
  // `ended` and the tasks it keeps waiting to `unbegun`.
  void take_back_if_begun_by(TimeUs begun_by, std::vector<TaskPtr>& ended,
                             std::vector<TaskPtr>& unbegun) PS_EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kMaxBatch = 128;

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
    void begin(Task& task) { task_ = &task; }
    void write(LogLevel level, std::string_view text) noexcept override;
    void failed(std::string_view reason) noexcept override;
    void crashed(std::string_view how, std::string_view last_words) noexcept override;

   private:
    TaskNotes* notes() noexcept;  // null: there is no memory for them

    Task* task_ = nullptr;
  };

  void run();
  bool prepare();
  // Begins the first of the `count` tasks in popped_.
  Task* begin_batch(std::size_t count, TimeUs now) PS_EXCLUDES(mutex_);
  // Ends the running task and begins the next; null when the batch is done, and then outbox_ holds
  // what has ended. `last`: this worker was given up, and has to end.
  Task* begin_next(TimeUs now, bool& last) PS_EXCLUDES(mutex_);
  Task* begin_one(TimeUs now) PS_REQUIRES(mutex_);
  void compute(Task& task);
  Verdict judge_running(TimeUs now, const Patience& patience) PS_EXCLUDES(mutex_);
  Running describe() const PS_REQUIRES(mutex_);

  const unsigned index_;
  TaskQueue& queue_;
  CompletionQueue& completions_;
  Log log_;  // worker thread only
  Ahead ahead_{*this};
  const std::unique_ptr<Handler> handler_;
  const Token token_{*this};
  const Closing closing_token_{*this};
  TaskQueue::Sleeper sleeper_;

  std::array<TaskPtr, kMaxBatch> popped_;  // worker thread only
  std::vector<TaskPtr> outbox_;            // worker thread only

  Mutex mutex_;
  std::vector<TaskPtr> unbegun_ PS_GUARDED_BY(mutex_);  // the next one last
  // Of unbegun_, so many at its end are the handler's already. Not 0 for longer than it takes a
  // handler to see that a task is long.
  std::size_t reserved_ PS_GUARDED_BY(mutex_) = 0;
  std::vector<TaskPtr> ended_ PS_GUARDED_BY(mutex_);
  TaskPtr running_ PS_GUARDED_BY(mutex_);
  bool stop_requested_ PS_GUARDED_BY(mutex_) = false;
  TimeUs told_to_stop_at_ PS_GUARDED_BY(mutex_) = 0;   // meaningful while running_ is answered,
  bool had_more_grace_ PS_GUARDED_BY(mutex_) = false;  // as is this
  bool given_up_ PS_GUARDED_BY(mutex_) = false;        // then running_ is its last task
  bool closing_ PS_GUARDED_BY(mutex_) = false;

  Thread thread_;  // last: it uses all of the above from its first instruction on
};

}  // namespace pool_server
