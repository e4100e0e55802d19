#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <optional>

#include "children/child_settings.h"
#include "core/ids.h"
#include "sys/event_fd.h"
#include "sys/mutex.h"

namespace pool_server {

// What the workers of one pool of programs know of one another: whose children can be kept alive,
// and whose turn it is to have its child replaced. Locks, and is used by the loop and all workers;
// a seat by its owner.
//
// Two rules follow from it. A worker whose child dies again and again waits before it takes a
// request, for as long as another one is able. And when none is, nobody waits: requests are
// answered that there is no worker, unless one has done its work a moment ago, as then it may be
// the requests that kill, and not the program that is broken.
class Roster {
 public:
  // A worker's place in it.
  class Seat {
   public:
    const std::shared_ptr<EventFd> wake = std::make_shared<EventFd>();

   private:
    friend class Roster;
    unsigned worker = 0;
    unsigned granted = 0;  // the generation its child may be replaced for,
    unsigned current = 0;  // ... and that it is of, or
    unsigned before = 0;   // ... was of, while another is started
    TimeUs granted_at = 0;
    bool starting = false;
    bool proven = false;  // a child of this generation has answered
    bool unable = false;
  };

  explicit Roster(std::shared_ptr<const ChildSettings> settings) : settings_(std::move(settings)) {}

  // For the loop.

  // Throws std::system_error when there is no descriptor for it.
  Seat& join() PS_EXCLUDES(mutex_);
  void leave(Seat& seat) PS_EXCLUDES(mutex_);
  void change(std::shared_ptr<const ChildSettings> settings) PS_EXCLUDES(mutex_);
  bool any_able() PS_EXCLUDES(mutex_);
  bool is_unable(unsigned worker) PS_EXCLUDES(mutex_);

  struct Turn {
    std::optional<unsigned> worker;  // whose turn it is: it has to be told to look
    TimeUs look_again_at = kNever;   // kNever: all have had it
  };
  // The next one's turn to have its child replaced has come when the new child of the one before
  // has answered, or, once that has been started, after kTurn: at most one is missing.
  Turn next_turn(TimeUs now) PS_EXCLUDES(mutex_);
  static constexpr TimeUs kTurn = 250'000;

  // For the owner of a seat.

  void serve_as(Seat& seat, unsigned worker) PS_EXCLUDES(mutex_);
  // Its turn has come.
  bool may_replace(const Seat& seat) PS_EXCLUDES(mutex_);
  // A start that is under way. The seat is up to date with what is started then, unless it was not
  // even tried.
  class Start {
   public:
    Start(Roster& roster, Seat& seat)
        : roster_(roster), seat_(seat), settings_(roster.begin_start(seat)) {}
    Start(const Start&) = delete;
    Start& operator=(const Start&) = delete;
    ~Start() { roster_.end_start(seat_, tried_); }

    void was_tried() { tried_ = true; }
    const std::shared_ptr<const ChildSettings>& settings() const { return settings_; }

   private:
    Roster& roster_;
    Seat& seat_;
    const std::shared_ptr<const ChildSettings> settings_;
    bool tried_ = false;
  };
  // What would be started now.
  std::shared_ptr<const ChildSettings> settings() PS_EXCLUDES(mutex_);
  // Its child has answered its first request.
  void has_proved(Seat& seat) PS_EXCLUDES(mutex_);
  // It cannot keep a child alive; until has_proved() or has_lived().
  void is_unable(Seat& seat) PS_EXCLUDES(mutex_);
  // Its child has lived for a while, be it without a request.
  void has_lived(Seat& seat) PS_EXCLUDES(mutex_);
  // A child has ended that answered until `then`.
  void answered_until(TimeUs then) PS_EXCLUDES(mutex_);
  bool others_able(const Seat& seat) PS_EXCLUDES(mutex_);
  // Others are, or one was a moment ago.
  bool has_hope(const Seat& seat, TimeUs now) PS_EXCLUDES(mutex_);

 private:
  static constexpr TimeUs kAMoment = 2'000'000;

  std::shared_ptr<const ChildSettings> begin_start(Seat& seat) PS_EXCLUDES(mutex_);
  void end_start(Seat& seat, bool tried) PS_EXCLUDES(mutex_);
  bool others_able_locked(const Seat& seat) PS_REQUIRES(mutex_);

  Mutex mutex_;
  std::list<Seat> seats_ PS_GUARDED_BY(mutex_);
  std::shared_ptr<const ChildSettings> settings_ PS_GUARDED_BY(mutex_);
  unsigned generation_ PS_GUARDED_BY(mutex_) = 0;
  TimeUs last_answer_ PS_GUARDED_BY(mutex_) = -kAMoment;
};

}  // namespace pool_server
