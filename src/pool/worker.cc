#include "pool/worker.h"

#include <algorithm>
#include <cassert>
#include <exception>
#include <iterator>
#include <new>
#include <span>
#include <utility>

#include "core/protocol.h"
#include "core/wipe.h"
#include "sys/clock.h"
#include "sys/crash_report.h"

namespace pool_server {

namespace {

// A look that is later than this part of the grace says more of the machine than of the worker:
// the whole process may have been stopped or frozen, and the loop be the first to run again.
constexpr TimeUs kPunctual = 8;
// A reply that is longer makes its task a run of its own.
constexpr std::size_t kLongReply = 8 * 1024;  // bytes
// What a worker keeps for the text of its next reply.
constexpr std::size_t kUsualReply = 64;             // bytes
constexpr std::size_t kLargestScratch = 64 * 1024;  // bytes

}  // namespace

Worker::Worker(unsigned index, TaskQueue& queue, CompletionQueue& completions,
               std::unique_ptr<Handler> handler)
    : index_(index), queue_(queue), completions_(completions), handler_(std::move(handler)) {
  handler_->use_log(log_);
  handler_->use_upcoming(ahead_);
  handler_->serve_as(index_);
  outbox_.reserve(kMostRuns);
  result_.text.reserve(kUsualReply);
  {
    const MutexLock lock(mutex_);
    unbegun_.reserve(kMostRuns);
    ended_.reserve(kMostRuns);
  }
  thread_ = Thread(name(index), [this] { run(); });
}

void Worker::run() {
  TimeUs now = monotonic_now();
  for (;;) {
    if (prepare()) now = monotonic_now();
    bool loop_waits_for_room = false;
    const std::size_t count = queue_.pop(sleeper_, popped_, now, loop_waits_for_room);
    now = monotonic_now();  // pop() may have slept
    if (count == TaskQueue::kNudged) continue;
    if (loop_waits_for_room) completions_.wake_loop();
    if (count == 0) return;
    bool last = false;
    for (bool more = begin_batch(count, now); more; more = end_task(now, last)) {
      compute();
      now = monotonic_now();
    }
    clear_result();
    if (last) queue_.leave(sleeper_);  // before the loop can hear of it, and end the queue
    completions_.post(outbox_);
    outbox_.clear();
    if (last) return;
  }
}

// What it could not do for want of memory is tried again, at the latest when a request needs it.
bool Worker::prepare() {
  try {
    return handler_->prepare(closing_token_);
  } catch (const std::exception&) {
    return true;
  }
}

bool Worker::begin_batch(std::size_t count, TimeUs now) {
  const MutexLock lock(mutex_);
  batch_begun_at_ = now;
  unbegun_.assign(std::make_move_iterator(popped_.rend() - static_cast<std::ptrdiff_t>(count)),
                  std::make_move_iterator(popped_.rend()));
  return begin_run(now);
}

bool Worker::begin_run(TimeUs now) {
  while (!unbegun_.empty()) {
    RunPtr run = std::move(unbegun_.back());
    unbegun_.pop_back();
    run->worker = index_;
    run->begun_at = now;
    if (run->shed == Run::Shed::kNo) {
      running_ = std::move(run);
      done_ = text_at_ = 0;
      begin_task(now);
      return true;
    }
    ended_.push_back(std::move(run));
  }
  outbox_.swap(ended_);
  return false;
}

void Worker::begin_task(TimeUs now) {
  const Run& run = *running_;
  if (reserved_ > 0) --reserved_;
  begun_at_ = now;
  work_ = 0;
  stop_requested_ = run.cancelled;
  current_ = {.text = std::string_view(run.text).substr(text_at_, run.tasks[done_].size),
              .number = run.number + done_,
              .serial = run.serial,
              .alone = run.size() == 1};
}

bool Worker::end_task(TimeUs now, bool& last) {
  const MutexLock lock(mutex_);
  last = given_up_;
  add_reply();
  Run& run = *running_;
  Task& task = run.tasks[done_];
  task.took = now - begun_at_;
  task.outcome = result_.outcome;
  task.failed = result_.failed;
  task.crashed = result_.crashed;
  run.work += work_ > 0 ? std::min(work_, task.took) : task.took;
  run.has_news = run.has_news || result_.failed || result_.notes != nullptr;
  if (result_.notes != nullptr) run.notes.add(std::move(result_.notes));
  text_at_ += task.size;
  ++done_;
  if (done_ < run.size()) {
    begin_task(now);
    return true;
  }
  ended_.push_back(std::move(running_));
  return begin_run(now);
}

// There may be no memory, and the loop may want the mutex: so what is long is not copied here.
void Worker::add_reply() noexcept {
  try {
    if (result_.is_line) {
      if (running_->size() > 1) {
        make_room_to_set_apart();
        set_running_apart();
      }
      running_->replies.swap(result_.text);
      return;
    }
    if (!result_.none) {
      // Those that are to come keep the room that they are sure of.
      std::string& replies = running_->replies;
      const std::size_t others =
          (running_->size() - done_ - 1) * protocol::kInternalErrorReply.size();
      const std::size_t room =
          replies.size() + protocol::kLongestPrefix + result_.text.size() + others;
      if (replies.capacity() < room) replies.reserve(2 * room);
      protocol::append_reply(result_.outcome, result_.text, replies);
      return;
    }
  } catch (const std::bad_alloc&) {
    result_.failed = true;
  }
  result_.outcome = Outcome::kError;
  running_->replies.append(protocol::kInternalErrorReply);  // fits: see Run
}

// The one place that catches what a handler throws.
void Worker::compute() {
  wipe(result_.text);
  result_.none = result_.is_line = result_.failed = result_.crashed = false;
  crash_report::begin_task(index_, current_.number, current_.serial);
  try {
    result_.outcome = handler_->handle(current_.text, token_, result_.text);
    result_.is_line = current_.alone || result_.text.size() > kLongReply;
    if (result_.is_line) protocol::make_reply(result_.outcome, result_.text);
  } catch (const std::exception& error) {
    log_.failed(error.what());
    result_.none = true;
  } catch (...) {
    log_.failed("an exception of unknown type");
    result_.none = true;
  }
  if (result_.none) result_.is_line = false;
  crash_report::end_task();
}

// Nothing of a reply stays with who made it, and no more memory than the next one is likely to
// need.
void Worker::clear_result() noexcept {
  wipe(result_.text);
  if (result_.text.capacity() <= kLargestScratch) return;
  try {
    std::string fresh;
    fresh.reserve(kUsualReply);
    result_.text.swap(fresh);
  } catch (const std::bad_alloc&) {  // the next time
  }
}

void Worker::Log::write(LogLevel level, std::string_view text) noexcept {
  crash_report::note(text);
  if (TaskNotes* const notes = this->notes()) notes->add(level, text);
}

void Worker::Log::failed(std::string_view reason) noexcept {
  worker_.result_.failed = true;
  if (TaskNotes* const notes = this->notes()) notes->fail(reason);
}

void Worker::Log::crashed(std::string_view how, std::string_view last_words) noexcept {
  worker_.result_.crashed = true;
  if (TaskNotes* const notes = this->notes()) notes->crash(how, last_words);
}

TaskNotes* Worker::Log::notes() noexcept {
  std::unique_ptr<TaskNotes>& notes = worker_.result_.notes;
  if (notes == nullptr) notes.reset(new (std::nothrow) TaskNotes(worker_.current_.number));
  return notes.get();
}

bool Worker::Token::stop_requested() const {
  const MutexLock lock(worker_.mutex_);
  return worker_.stop_requested_;
}

bool Worker::Closing::stop_requested() const {
  const MutexLock lock(worker_.mutex_);
  return worker_.closing_;
}

// Calls `visit(run, text)` for each task that comes after the one that runs, in their order, until
// it returns false. Those that are shed are not handled, and so not among them.
template <class Visit>
void Worker::for_each_ahead(Visit visit) const {
  const auto visit_rest = [&visit](const Run& run, std::size_t task, std::size_t at) {
    for (; task < run.size(); at += run.tasks[task++].size) {
      if (!visit(run, std::string_view(run.text).substr(at, run.tasks[task].size))) return false;
    }
    return true;
  };
  if (!visit_rest(*running_, done_ + 1, text_at_ + running_->tasks[done_].size)) return;
  for (auto run = unbegun_.rbegin(); run != unbegun_.rend(); ++run) {
    if ((*run)->shed == Run::Shed::kNo && !visit_rest(**run, 0, 0)) return;
  }
}

std::size_t Worker::Ahead::reserve(std::span<std::string_view> texts, std::size_t longest) {
  Worker& worker = worker_;
  const MutexLock lock(worker.mutex_);
  std::size_t passed = worker.reserved_;
  std::size_t count = 0;
  worker.for_each_ahead([&](const Run& run, std::string_view text) {
    if (passed > 0) {
      --passed;
      return true;
    }
    if (count == texts.size() || run.cancelled || text.size() > longest) return false;
    texts[count++] = text;
    return true;
  });
  worker.reserved_ += count;
  return count;
}

void Worker::Ahead::keep_reserved(std::size_t count) noexcept {
  const MutexLock lock(worker_.mutex_);
  worker_.reserved_ = std::min(worker_.reserved_, count);
}

void Worker::Ahead::was_work(TimeUs work) noexcept {
  const MutexLock lock(worker_.mutex_);
  worker_.work_ = work;
}

std::optional<Worker::Running> Worker::running() {
  const MutexLock lock(mutex_);
  if (running_ == nullptr) return std::nullopt;
  return describe();
}

Worker::Verdict Worker::judge(TimeUs now, const Patience& patience) {
  Verdict verdict = judge_running(now, patience);
  if (verdict.overdue) handler_->interrupt();
  return verdict;
}

Worker::Verdict Worker::judge_running(TimeUs now, const Patience& patience) {
  Verdict verdict;
  if (patience.task_timeout == 0) return verdict;
  const MutexLock lock(mutex_);
  if (running_ == nullptr) return verdict;
  if (!running_->answered) {
    const TimeUs due = begun_at_ + patience.task_timeout;
    if (now < due) {
      verdict.look_again_at = due;
      return verdict;
    }
    if (running_->size() > 1) {
      // It began with it after it was last asked for what can be taken back, and was not seen to.
      verdict.look_again_at = now;
      return verdict;
    }
    verdict.overdue = describe();
    running_->answered = stop_requested_ = true;
    told_to_stop_at_ = now;  // its grace begins here, however late the loop has come
    had_more_grace_ = false;
  }
  TimeUs due = told_to_stop_at_ + patience.grace;
  if (now > due + patience.grace / kPunctual && !std::exchange(had_more_grace_, true)) {
    told_to_stop_at_ = now - patience.grace / 2;
    due = told_to_stop_at_ + patience.grace;
  }
  if (now < due) {
    verdict.look_again_at = due;
    return verdict;
  }
  verdict.past_saving = describe();
  assert(ended_.empty());  // all else was taken back long since, but for what is reserved
  verdict.given_up = given_up_ = patience.may_give_up && unbegun_.empty();
  return verdict;
}

bool Worker::is_ending() {
  const MutexLock lock(mutex_);
  return given_up_ && running_ == nullptr;
}

// No system call is made under the mutex, and interrupt() may be one: here and in the next.
void Worker::cancel_tasks_of(ConnectionId connection) {
  bool runs = false;
  {
    const MutexLock lock(mutex_);
    runs = running_ != nullptr && running_->connection == connection;
    if (runs) running_->cancelled = stop_requested_ = true;
    for (const RunPtr& run : unbegun_) run->cancelled |= run->connection == connection;
  }
  if (runs) handler_->interrupt();
}

void Worker::cancel_all() {
  {
    const MutexLock lock(mutex_);
    if (running_ != nullptr) running_->cancelled = stop_requested_ = true;
    for (const RunPtr& run : unbegun_) run->cancelled = true;
  }
  handler_->interrupt();
}

void Worker::expect_end() {
  {
    const MutexLock lock(mutex_);
    closing_ = true;
  }
  handler_->interrupt();
}

RunPtr Worker::copy_running() {
  const MutexLock lock(mutex_);
  if (running_ == nullptr || running_->answered) return nullptr;
  auto copy = std::make_unique<Run>();
  copy->connection = running_->connection;
  copy->sequence = running_->sequence + done_;
  copy->add(current_.text);  // the handler only reads it
  return copy;
}

void Worker::take_back_if_begun_by(TimeUs begun_by, std::vector<RunPtr>& ended,
                                   std::vector<RunPtr>& unbegun) {
  const MutexLock lock(mutex_);
  const bool is_long = begun_at_ <= begun_by || batch_begun_at_ <= begun_by;
  if (running_ == nullptr || !is_long) return;
  make_room_to_set_apart();
  set_running_apart();
  const auto reserved = static_cast<std::ptrdiff_t>(set_reserved_apart());
  ended.reserve(ended.size() + ended_.size() + unbegun_.size());
  unbegun.reserve(unbegun.size() + unbegun_.size());
  std::move(ended_.begin(), ended_.end(), std::back_inserter(ended));
  ended_.clear();
  const auto kept = unbegun_.end() - reserved;
  for (auto run = std::make_reverse_iterator(kept); run != unbegun_.rend(); ++run) {
    // What was shed when it was popped is answered, and not queued a second time.
    ((*run)->shed == Run::Shed::kNo ? unbegun : ended).push_back(std::move(*run));
  }
  unbegun_.erase(unbegun_.begin(), kept);
}

// What throws comes before what would be lost by it.
void Worker::make_room_to_set_apart() {
  unbegun_.reserve(unbegun_.size() + 2);
  ended_.reserve(ended_.size() + unbegun_.size() + 4);
}

// What runs is a run of its own then; what went before it has ended, what came after has not begun.
// Their requests are wiped here, as this one may take for ever; but for what the handler has
// reserved, which it may be reading.
void Worker::set_running_apart() {
  Run& run = *running_;
  const std::size_t next = done_ + 1;
  const std::size_t behind = text_at_ + run.tasks[done_].size;
  std::size_t kept = behind;
  if (next < run.size()) {
    const std::size_t reserved = std::min(next + reserved_, run.size());
    for (std::size_t task = next; task < reserved; ++task) kept += run.tasks[task].size;
    unbegun_.push_back(run.split_off(next, behind));
  } else if (reserved_ > 0) {
    kept = run.text.size();  // of an earlier cut, some may be
  }
  wipe(std::span(run.text).subspan(kept));
  if (done_ > 0) {
    ended_.push_back(run.give_ended(done_));
    run.begun_at = begun_at_;
    done_ = 0;
  }
  wipe(std::span(run.text).first(text_at_));
}

// Makes what is reserved whole runs; how many of the last of unbegun_ that are.
std::size_t Worker::set_reserved_apart() {
  std::size_t runs = 0;
  for (std::size_t left = reserved_; left > 0; ++runs) {
    const auto at = unbegun_.end() - static_cast<std::ptrdiff_t>(runs + 1);
    Run& run = **at;
    if (run.shed != Run::Shed::kNo) continue;
    if (run.size() > left) unbegun_.insert(at, run.cut(left));
    left -= run.size();
  }
  return runs;
}

Worker::Running Worker::describe() const {
  return {running_->connection,
          running_->sequence + done_,
          current_.number,
          running_->serial,
          running_->charge,
          begun_at_,
          begun_at_ - running_->accepted_at,
          index_,
          running_->answered,
          told_to_stop_at_};
}

}  // namespace pool_server
