#include "children/child_handler.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <optional>
#include <utility>

#include "core/protocol.h"
#include "core/wipe.h"
#include "sys/clock.h"
#include "sys/packet.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

constexpr std::string_view kReloaded = "the configuration was loaded anew";
constexpr std::string_view kClosedInput = "it closed its standard input";
constexpr std::string_view kClosedOutput = "it closed its standard output";
constexpr std::string_view kNobodyWaits = "nobody waits for it";
constexpr unsigned kFailuresForgiven = 2;
constexpr TimeUs kFirstPause = 50'000;
// How long nothing is done when no child can be had any more: until the loop has noticed.
constexpr TimeUs kLossPatience = 1'000'000;
// Beyond the grace: for the nursery to do it, and the kernel.
constexpr TimeUs kEndMargin = 500'000;
// A child that has closed its output has this long to end by itself, so that it can be told how.
constexpr TimeUs kSilentPatience = 1'000'000;
// One that has closed its input, which is no use then, so long.
constexpr TimeUs kDeafPatience = 50'000;

TimeUs pause_after(unsigned failures) {
  if (failures <= kFailuresForgiven) return 0;
  const unsigned doublings = std::min(failures - kFailuresForgiven - 1, 16U);
  return std::min(kFirstPause << doublings, ChildHandler::kLongestPause);
}

UniqueFd open_statm(pid_t pid) {
  std::array<char, 32> path{};
  (void)std::snprintf(path.data(), path.size(), "/proc/%d/statm", pid);
  return UniqueFd(::open(path.data(), O_RDONLY | O_CLOEXEC));
}

// Bytes resident; 0: it cannot be told.
std::size_t resident(int statm) {
  std::array<char, 128> text{};
  const ssize_t size = ::pread(statm, text.data(), text.size(), 0);
  if (size <= 0) return 0;
  const char* const end = text.data() + size;
  const char* const field = std::find<const char*>(text.data(), end, ' ');
  std::size_t pages = 0;
  if (field == end || std::from_chars(field + 1, end, pages).ec != std::errc()) return 0;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

ChildHandler::ChildHandler(Nursery& nursery, Roster& roster, std::unique_ptr<Exchange> exchange,
                           std::unique_ptr<Child> first)
    : nursery_(nursery), roster_(roster), seat_(roster.join()), exchange_(std::move(exchange)) {
  if (first == nullptr) return;
  adopt(std::move(first), Roster::Start(roster_, seat_).settings());
}

void ChildHandler::serve_as(unsigned worker) {
  label_ = "worker-" + std::to_string(worker);
  roster_.serve_as(seat_, worker);
}

bool ChildHandler::prepare(const StopToken& closing) {
  drop_if_unknown();
  bool took_time = false;
  while (!closing.stop_requested()) {
    if (child_ == nullptr && is_lost()) {
      wait_for_end(closing);
      return true;
    }
    recycle_if_due();
    if (has_child()) {
      if (unable_ && monotonic_now() - started_at_ >= kProbation) {
        unable_ = false;
        roster_.has_lived(seat_);
      }
      if (!roster_.may_replace(seat_)) return took_time;
      replace_for_reload(closing);
      return true;
    }
    took_time = true;
    if (roster_.may_replace(seat_)) failures_ = 0, pause_until_ = 0;  // it may be another program
    const TimeUs left = pause_until_ - monotonic_now();
    if (left <= 0) {
      start(closing);
    } else if (!roster_.others_able(seat_)) {
      return true;  // somebody has to tell the clients
    } else if (wait_readable(seat_.wake->fd(), static_cast<int>(left / 1000 + 1))) {
      seat_.wake->clear();
    }
  }
  return true;
}

Outcome ChildHandler::handle(std::string_view request, const StopToken& stop, std::string& reply) {
  if (const std::string_view fault = exchange_->refuses(request); !fault.empty()) {
    return refuse(fault, reply);
  }
  drop_if_unknown();
  bool tried = false;
  for (;;) {
    if (!exchange_->is_ahead()) recycle_if_due();
    for (; !exchange_->is_ahead() && !has_child(); start(stop)) {
      if (is_lost()) {
        wait_for_end(stop);
        return refuse(protocol::kNoWorker, reply);
      }
      const TimeUs now = monotonic_now();
      const bool paused = now < pause_until_;
      const bool may_try = !paused || (!tried && roster_.has_hope(seat_, now));
      if (!may_try || stop.stop_requested()) return refuse(protocol::kNoWorker, reply);
      tried |= paused;
    }
    if (!exchange_->is_ahead() && stop.stop_requested()) return refuse(kNobodyWaits, reply);
    has_request_ = true;  // until it is known where the child stands
    const Exchange::Result result =
        exchange_->run(*child_, {*seat_.wake, request, stop, log_, most_ahead()}, reply);
    std::optional<ChildEnd> end;
    if (result == Exchange::Result::kEnded) end = exchange_->end();
    if (result == Exchange::Result::kSilent) end = child_->wait(kSilentPatience);
    if (result == Exchange::Result::kOutOfStep || result == Exchange::Result::kDeaf) {
      wipe(reply);
      if (result == Exchange::Result::kDeaf) {
        lose_deaf_child();
      } else {
        drop_out_of_step();
      }
      continue;
    }
    if (!end) return conclude(result, reply);
    if (!reply.empty() || end->nursery_gone || exchange_->was_read()) {
      return blame_end(end->how(), *end, reply);
    }
    lose_idle_child(*end);  // the request is as good as new
  }
}

// False: there is none that a request can be given to. What one did while it had no request is
// found out here, at the last moment before it gets one.
bool ChildHandler::has_child() {
  if (child_ == nullptr) return false;
  pollfd ends[3] = {{child_->output(), POLLIN, 0},
                    {child_->lifeline(), POLLIN, 0},
                    {child_->is_program() ? child_->input() : -1, 0, 0}};
  if (::poll(ends, std::size(ends), 0) <= 0) return true;
  if (ends[1].revents != 0) {
    if (const auto end = child_->end()) {
      lose_idle_child(*end);
      return false;
    }
  }
  if (ends[0].revents == 0) {
    if (ends[2].revents == 0) return true;
    lose_deaf_child();
    return false;
  }
  const long size = exchange_->take_unasked(*child_);
  if (size < 0) return true;
  if (size > 0) {
    drop_out_of_step();
  } else if (const auto end = child_->wait(kSilentPatience)) {
    lose_idle_child(*end);
  } else {  // it lives, and is of no use
    tell(News::kIdleEnd, kClosedOutput);
    lose_child({});
  }
  return false;
}

// An exception came in between: it is not known where the child stands.
void ChildHandler::drop_if_unknown() {
  if (!has_request_ || child_ == nullptr) return;
  child_->kill();
  drop();
}

void ChildHandler::drop() noexcept {
  exchange_->part();
  child_.reset();
}

void ChildHandler::start(const StopToken& stop) {
  if (!try_start(stop) && !stop.stop_requested()) count_failure();
}

// The process whose child the next one would be has gone: no more of them can be had.
bool ChildHandler::is_lost() {
  const std::shared_ptr<const ChildSettings> next = roster_.settings();
  return wait_readable(next->keeper != nullptr ? next->keeper->control() : nursery_.control(), 0);
}

// For the loop to take back what it can: others will do it, in the next process.
void ChildHandler::wait_for_end(const StopToken& stop) {
  const TimeUs until = monotonic_now() + kLossPatience;
  while (!stop.stop_requested() && wait_for_input(seat_.wake->fd(), until)) seat_.wake->clear();
}

// A child that there is stays until the new one runs, and for good if there is none.
bool ChildHandler::try_start(const StopToken& stop, std::string_view why) {
  Roster::Start start(roster_, seat_);
  const Spawner::Interruption interruption{*seat_.wake, stop};
  Spawner::Spawned spawned = start_child(nursery_, *start.settings(), label_, &interruption);
  start.was_tried();
  if (spawned.child == nullptr) {
    if (!stop.stop_requested()) tell(News::kNotStarted, spawned.fault);
    return false;
  }
  if (child_ != nullptr) {
    tell(News::kReplaced, why, spawned.child->pid());
    drop();
  }
  adopt(std::move(spawned.child), start.settings());
  return true;
}

void ChildHandler::adopt(std::unique_ptr<Child> child,
                         std::shared_ptr<const ChildSettings> settings) {
  child_ = std::move(child);
  settings_ = std::move(settings);
  exchange_->meet(*child_, *settings_);
  has_request_ = false;
  answered_ = 0;
  started_at_ = monotonic_now();
  memory_.reset();
  if (settings_->max_memory > 0) memory_ = open_statm(child_->pid());
}

void ChildHandler::replace_for_reload(const StopToken& closing) {
  if (!try_start(closing, kReloaded)) return;
  failures_ = 0;
  pause_until_ = 0;
}

void ChildHandler::recycle_if_due() {
  if (child_ == nullptr || answered_ == 0) return;
  const char* why = nullptr;
  if (settings_->max_tasks > 0 && answered_ >= settings_->max_tasks) why = "it did its last task";
  if (memory_.valid() && resident(memory_.get()) > settings_->max_memory) {
    why = "it has grown too large";
  }
  if (why == nullptr) return;
  tell(News::kReplaced, why, child_->pid());
  roster_.answered_until(last_answer_);
  drop();
}

// Not more than it will be kept for.
std::size_t ChildHandler::most_ahead() const {
  if (settings_->max_memory > 0) return 0;
  if (settings_->max_tasks == 0) return SIZE_MAX;
  return settings_->max_tasks - std::min(settings_->max_tasks, answered_ + 1);
}

void ChildHandler::count_failure() {
  ++failures_;
  pause_until_ = monotonic_now() + pause_after(failures_);
  if (failures_ <= kFailuresForgiven) return;
  unable_ = true;
  roster_.is_unable(seat_);
}

void ChildHandler::lose_child(const ChildEnd& end) {
  drop();
  if (answered_ > 0) {
    roster_.answered_until(last_answer_);
    if (!end.nursery_gone) return;
  }
  count_failure();
}

void ChildHandler::lose_idle_child(const ChildEnd& end) {
  if (!end.nursery_gone) {
    tell(News::kIdleEnd,
         end.last_words.empty() ? end.how() : end.how() + ", having said: " + end.last_words);
  }
  lose_child(end);
}

// It may only be ending; otherwise it lives, for its grace, and is of no use.
void ChildHandler::lose_deaf_child() {
  if (const auto end = child_->wait(kDeafPatience)) return lose_idle_child(*end);
  tell(News::kIdleEnd, kClosedInput);
  lose_child({});
}

void ChildHandler::drop_out_of_step() {
  tell(News::kOutOfStep, exchange_->out_of_step(), child_->pid());
  if (answered_ == 0) count_failure();
  child_->kill();
  drop();
}

void ChildHandler::tell(News kind, std::string_view text, int pid) noexcept {
  nursery_.tell(kind, label_, pid == 0 && child_ != nullptr ? child_->pid() : pid, text);
}

Outcome ChildHandler::conclude(Exchange::Result result, std::string& reply) {
  switch (result) {
    case Exchange::Result::kAnswered:
    case Exchange::Result::kThrown:
      return accept(result, reply);
    case Exchange::Result::kWithdrawn:
      has_request_ = false;
      return refuse(kNobodyWaits, reply);
    case Exchange::Result::kTooLong:
      child_->kill();
      drop();
      return refuse(protocol::reply_too_long(exchange_->longest()), reply);
    case Exchange::Result::kMalformed:
      child_->kill();
      drop();
      if (log_ != nullptr) log_->failed("what it wrote is no reply");
      return refuse(protocol::kInternalError, reply);
    case Exchange::Result::kSilent:
      child_->kill();
      return blame_end(kClosedOutput, child_->wait(kEndMargin).value_or(ChildEnd()), reply);
    case Exchange::Result::kOutOfStep:  // dealt with before, as are the next two
    case Exchange::Result::kDeaf:
    case Exchange::Result::kEnded:
    case Exchange::Result::kStopped:
      break;
  }
  // It is no fault of the program's that a client left, but it may be one that it hung.
  child_->terminate();
  if (!child_->wait(end_patience())) {
    // It cannot be killed now; it will be, without anybody waiting for it.
    child_->kill();
  }
  if (answered_ > 0) roster_.answered_until(last_answer_);
  drop();
  return refuse(kNobodyWaits, reply);
}

// It had begun with the request, so it is the request that is to blame, and not a program that
// cannot live: who sends such requests is not to have the others wait for a pause.
Outcome ChildHandler::blame_end(std::string_view how, const ChildEnd& end, std::string& reply) {
  const std::string told(how);
  drop();
  if (answered_ > 0) roster_.answered_until(last_answer_);
  if (end.nursery_gone) {
    count_failure();
    return refuse(protocol::kNoWorker, reply);
  }
  if (log_ != nullptr) log_->crashed(told, end.last_words);
  return refuse(protocol::worker_crashed(told), reply);
}

Outcome ChildHandler::accept(Exchange::Result result, std::string& reply) {
  has_request_ = false;
  last_answer_ = monotonic_now();
  failures_ = 0;
  pause_until_ = 0;
  if (answered_++ == 0) {
    unable_ = false;
    roster_.has_proved(seat_);
  }
  if (exchange_->ended()) {
    lose_idle_child(exchange_->end());
  } else if (exchange_->surplus()) {
    drop_out_of_step();
  }
  if (result == Exchange::Result::kAnswered) return exchange_->outcome();
  if (log_ != nullptr) log_->failed(reply);
  return refuse(protocol::kInternalError, reply);
}

Outcome ChildHandler::refuse(std::string_view reason, std::string& reply) {
  wipe(reply);
  reply = reason;
  return Outcome::kError;
}

TimeUs ChildHandler::end_patience() const {
  return settings_->grace + kEndMargin;
}

}  // namespace pool_server
