#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/handler.h"
#include "core/ids.h"
#include "core/protocol.h"
#include "core/task_notes.h"
#include "core/wipe.h"

namespace pool_server {

// One request of a run, and what came of it.
struct Task {
  TimeUs took = 0;         // on a worker
  std::uint32_t size = 0;  // bytes of its text
  Outcome outcome = Outcome::kOk;
  bool failed = false;   // the handler threw, or said that it cannot: to be told
  bool crashed = false;  // the process that worked on it has
};

// All of a Run but what it owns: a base of its own, so that a run is made new, or like another one,
// without touching that.
struct RunState {
  // What fills places in the reply order: work for the pool, or an answer the loop gives itself.
  enum class Kind : unsigned char {
    kWork,
    kRefusal,  // the reply is ready
    kStats,    // the reply is made when its turn comes, to count all that came before it
  };

  // Work that was not done, and why.
  enum class Shed : unsigned char {
    kNo,
    kWaitedTooLong,  // --queue-timeout
    kStandingWait,   // --queue-target
  };

  Kind kind = Kind::kWork;
  Shed shed = Shed::kNo;
  bool answered = false;   // timed out, and so alone: its client was answered without it
  bool cancelled = false;  // its client left, or the server gives up
  bool has_news = false;   // of some task there is something to be told: it failed, or has notes
  unsigned worker = 0;
  ConnectionId connection;
  std::uint64_t sequence = 0;  // of its first task: the place in the reply order of its connection
  std::uint64_t number = 0;    // of its first task; counts all tasks of the server, for the log
  std::uint64_t serial = 0;    // names its connection there, also when that has gone
  std::size_t charge = 0;      // bytes its connection is charged with until it is answered

  TimeUs accepted_at = 0;
  TimeUs begun_at = 0;  // its first task, on a worker
  TimeUs work = 0;      // what was spent on its tasks, as far as their handler can tell

  struct Run* next = nullptr;  // link of the one list that owns it, if a list does
};

// Requests on their way through the server: loop → TaskQueue → worker → CompletionQueue → loop.
//
// The unit of hand-over: consecutive lines of one connection, few enough that they are short work
// (see Admission), in one piece of memory, and one buffer for all their replies. What crosses the
// threads are some cache lines a run, and not some a line. When an estimate was wrong, a run is cut
// in two (split_off(), give_ended()), and nothing tells any more that it was one.
//
// A value with one owner at a time, keyed by connection id and sequence, that knows no descriptor
// and no object of the net floor. It goes out with requests and comes back, the same object, with
// their replies: the two mutexes it passes order every access, and what it owns keeps its capacity,
// so the steady state allocates nothing.
//
// `replies` always has room for an internal error in place of each reply that it has not got yet: a
// worker that has run out of memory, or whose handler has, can answer.
struct Run : RunState {
  // Neither string keeps anything within itself, where wiping would not find it later.
  Run() {
    text.reserve(2 * sizeof(std::string));
    replies.reserve(protocol::kInternalErrorReply.size());
  }

  static constexpr std::size_t kUsualTasks = 16;
  static constexpr std::size_t kUsualText = 1024;  // bytes

  std::string text;         // the requests, without their line ends
  std::string replies;      // the whole reply lines of those that have ended
  std::vector<Task> tasks;  // one and more
  TaskNotesList notes;      // what the handler told of some of them

  std::size_t size() const { return tasks.size(); }
  std::uint64_t end() const { return sequence + size(); }  // the place that follows it

  // One request more. Throws std::bad_alloc, and has changed nothing then.
  void add(std::string_view request) {
    if (size() == 1) {  // there are several: room for as many as usually come, in one go
      tasks.reserve(kUsualTasks);
      text.reserve(std::min(kUsualTasks * (text.size() + request.size()) / 2, kUsualText));
    } else if (tasks.size() == tasks.capacity()) {
      tasks.reserve(2 * size() + 1);
    }
    const std::size_t room = tasks.capacity() * protocol::kInternalErrorReply.size();
    if (replies.capacity() < room) replies.reserve(room);
    text.append(request);
    tasks.push_back({.size = static_cast<std::uint32_t>(request.size())});
  }

  // An answer of the loop's own.
  void answer(Kind with, Outcome outcome) {
    kind = with;
    tasks.push_back({.outcome = outcome});
  }

  std::size_t errors() const {
    std::size_t count = 0;
    for (const Task& task : tasks) count += task.outcome == Outcome::kError ? 1 : 0;
    return count;
  }
  TimeUs took() const {
    TimeUs sum = 0;
    for (const Task& task : tasks) sum += task.took;
    return sum;
  }

  // Bytes of the text of the first `count` tasks.
  std::size_t text_before(std::size_t count) const {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) bytes += tasks[i].size;
    return bytes;
  }

  // Nothing stays of the text from byte `at` on, which has been given to another run. Only while
  // no handler is at work on this one.
  void forget_text(std::size_t at) {
    wipe(std::span(text).subspan(at));
    text.resize(at);
  }

  // Both: the tasks from `index` on as a run of their own, of which nothing stays here. Only while
  // no handler is at work on this one. Throws std::bad_alloc, and has changed nothing then.
  std::unique_ptr<Run> cut(std::size_t index) {
    const std::size_t at = text_before(index);
    auto rest = split_off(index, at);
    forget_text(at);
    return rest;
  }

  // Calls `visit(task, text)` for each; `text` is its request.
  template <class Visit>
  void for_each_text(Visit visit) const {
    std::size_t at = 0;
    for (const Task& task : tasks) {
      visit(task, std::string_view(text).substr(at, task.size));
      at += task.size;
    }
  }
  // The same with its reply line, once all have ended.
  template <class Visit>
  void for_each_reply(Visit visit) const {
    std::size_t at = 0;
    for (const Task& task : tasks) {
      const std::size_t size = replies.find('\n', at) + 1 - at;
      visit(task, std::string_view(replies).substr(at, size));
      at += size;
    }
  }

  // Takes away the tasks from `index` on, none of which has ended, as a run of their own, whose
  // text begins at byte `at`. This one's text stays as it is, all of it: a handler may be reading
  // there; see forget_text(). Throws std::bad_alloc, and has changed nothing then.
  std::unique_ptr<Run> split_off(std::size_t index, std::size_t at) {
    assert(index > 0 && index < size() && at <= text.size());
    auto rest = std::make_unique<Run>();
    static_cast<RunState&>(*rest) = *this;
    const std::size_t left = size() - index;
    rest->text.assign(text, at);
    rest->tasks.assign(tasks.begin() + static_cast<std::ptrdiff_t>(index), tasks.end());
    rest->replies.reserve(left * protocol::kInternalErrorReply.size());
    rest->sequence += index;
    rest->number += index;
    rest->charge = charge / size() * left;
    rest->work = 0;
    rest->has_news = false;
    rest->next = nullptr;
    charge -= rest->charge;
    tasks.resize(index);
    return rest;
  }

  // The same for the first `count` tasks, which have ended, with their replies; the texts stay.
  std::unique_ptr<Run> give_ended(std::size_t count) {
    assert(count > 0 && count < size());
    auto ended = std::make_unique<Run>();
    static_cast<RunState&>(*ended) = *this;
    const auto middle = tasks.begin() + static_cast<std::ptrdiff_t>(count);
    ended->tasks.assign(tasks.begin(), middle);
    ended->replies.reserve((size() - count) * protocol::kInternalErrorReply.size());
    ended->replies.swap(replies);
    ended->notes.swap(notes);
    ended->charge = charge / size() * count;
    ended->next = nullptr;
    charge -= ended->charge;
    tasks.erase(tasks.begin(), middle);
    sequence += count;
    number += count;
    work = 0;
    has_news = false;
    return ended;
  }

  // As new, but for the capacity of what it owns. Nothing of the requests or replies stays.
  void reset() {
    static_cast<RunState&>(*this) = RunState();
    wipe(text);
    wipe(replies);
    tasks.clear();
    notes.clear();
  }
  std::size_t capacity() const {
    return text.capacity() + replies.capacity() + tasks.capacity() * sizeof(Task);
  }
};

using RunPtr = std::unique_ptr<Run>;

inline std::size_t tasks_in(const std::vector<RunPtr>& runs) {
  std::size_t count = 0;
  for (const RunPtr& run : runs) count += run->size();
  return count;
}

}  // namespace pool_server
