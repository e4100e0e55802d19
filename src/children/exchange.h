#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "children/child.h"
#include "children/child_settings.h"
#include "core/handler.h"
#include "core/wipe.h"
#include "sys/event_fd.h"

namespace pool_server {

// How a worker speaks with its child: a request to it, and a reply back. One thread at a time.
class Exchange {
 public:
  enum class Result : unsigned char {
    kAnswered,   // see outcome(), surplus() and ended()
    kThrown,     // it is no reply that came back, but what was thrown
    kTooLong,    // it goes on beyond longest()
    kSilent,     // the child has closed its output
    kEnded,      // without a whole reply; see end()
    kStopped,    // the stop token was set
    kWithdrawn,  // ... and the child had not begun with it, and never will
    kMalformed,  // what came back is no reply
    kOutOfStep,  // it wrote a reply without having read any of this request, or before it was sent
    kDeaf,       // it has closed its input, and read none of this request; it may be ending
  };
  struct Ask {
    EventFd& wake;  // signalled by whoever sets the stop token; perhaps for something that is over
    std::string_view request;
    const StopToken& stop;
    TaskLog* log;            // may be null
    std::size_t most_ahead;  // requests after it that the child may be given
  };

  virtual ~Exchange() = default;

  // Of its worker.
  virtual void use(Upcoming&) {}
  // Why this request cannot be given to a child; empty: nothing speaks against it.
  virtual std::string_view refuses(std::string_view request) const = 0;
  // From here on it is with this one, which has been given nothing yet.
  virtual void meet(Child& child, const ChildSettings& settings) = 0;
  // It is no longer with that one.
  virtual void part() noexcept {}
  // The next request is with the child already.
  virtual bool is_ahead() const { return false; }
  // Appends the text that comes back to `reply`. Waits as long as it takes. Throws std::bad_alloc.
  virtual Result run(Child& child, const Ask& ask, std::string& reply) = 0;
  // What a child does that has to be replaced for its surplus(), in words.
  virtual std::string_view out_of_step() const {
    return "it wrote more than one reply for a request, or read less";
  }
  // Takes what the child has written unasked. Returns its size; 0: nothing, it has closed its
  // output; negative: nothing yet.
  virtual long take_unasked(Child& child) = 0;

  // Of the last run.

  Outcome outcome() const { return outcome_; }
  std::size_t longest() const { return longest_; }  // that its reply might be, in bytes
  // The child wrote more than the reply, or left some of the request.
  bool surplus() const { return surplus_; }
  // It ended after it: then, too, end() says how.
  bool ended() const { return ended_; }
  const ChildEnd& end() const { return end_; }
  // The child, which has ended, had taken some of the request.
  bool was_read() const { return was_read_; }

 protected:
  enum class Event : unsigned char { kReady, kEnded, kStopped, kLate, kDeaf };
  // What is of interest in a child's input: nothing; that nobody reads it any more (kDeaf, once
  // there is nothing to be read from the child); that, and room in it.
  enum class Watch : unsigned char { kNothing, kReader, kRoom };
  // Waits for something from the child, or its input; for its end, which is in end_ then; and for
  // the stop token. At most `patience_ms`; -1: as long as it takes.
  Event wait(Child& child, const Ask& ask, Watch watch, int patience_ms = -1);

  // What a child's input could not be given now, with this errno, it may be given later.
  static bool is_for_now(int error);

  // Instead of what came back.
  void refuse(std::string_view reason, std::string& reply) {
    wipe(reply);
    reply = reason;
    outcome_ = Outcome::kError;
  }

  Outcome outcome_ = Outcome::kOk;
  std::size_t longest_ = 0;
  bool surplus_ = false;
  bool ended_ = false;
  bool was_read_ = true;
  ChildEnd end_;
};

}  // namespace pool_server
