#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/handler.h"
#include "core/ids.h"
#include "core/protocol.h"
#include "core/task_notes.h"

namespace pool_server {

// All of a Task but its text: a base of its own, so that a task is made new without touching its
// strings.
struct TaskState {
  // What fills a place in the reply order: work for the pool, or an answer the loop gives itself.
  enum class Kind : unsigned char {
    kWork,
    kRefusal,  // `reply` is ready
    kStats,    // `reply` is made when its turn comes, to count all that came before it
  };

  // Work that was not done, and why.
  enum class Shed : unsigned char {
    kNo,
    kWaitedTooLong,  // --queue-timeout
    kStandingWait,   // --queue-target
  };

  Kind kind = Kind::kWork;
  Outcome outcome = Outcome::kOk;
  ConnectionId connection;
  std::uint64_t sequence = 0;  // place in the reply order of its connection
  std::uint64_t number = 0;    // counts all tasks of the server; names it in the log
  std::size_t charge = 0;      // bytes its connection is charged with until it is answered
  std::uint64_t serial = 0;    // names its connection there, also when that has gone

  TimeUs accepted_at = 0;
  TimeUs begun_at = 0;  // on a worker
  TimeUs ended_at = 0;
  TimeUs work = 0;  // of that, what was spent on it, if its handler tells; 0: all
  unsigned worker = 0;
  bool answered = false;  // timed out: its client was answered without it
  Shed shed = Shed::kNo;
  bool cancelled = false;  // its client left, or the server gives up
  bool failed = false;     // the handler threw, or said that it cannot: to be told

  struct Task* next = nullptr;  // link of the one list that owns it, if a list does
};

// One request on its way through the server: loop → TaskQueue → worker → CompletionQueue → loop.
//
// A value with one owner at a time, keyed by connection id and sequence, that knows no descriptor
// and no object of the net floor. It goes out as a task and comes back, the same object, as its own
// completion: the two mutexes it passes order every access, and its strings keep their capacity, so
// the steady state allocates nothing.
//
// `reply` always has room for kInternalErrorReply: a worker that has run out of memory, or whose
// handler has, can answer.
struct Task : TaskState {
  Task() { reply.reserve(protocol::kInternalErrorReply.size()); }

  std::string text;                  // the request, without its line end
  std::string reply;                 // the whole reply line, once it has ended
  std::unique_ptr<TaskNotes> notes;  // what its handler told; null: nothing

  // As new, but for the capacity of the strings.
  void reset() {
    static_cast<TaskState&>(*this) = TaskState();
    text.clear();
    notes.reset();
    reply.clear();
    reply.reserve(protocol::kInternalErrorReply.size());
  }
};

using TaskPtr = std::unique_ptr<Task>;

}  // namespace pool_server
