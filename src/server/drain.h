#pragma once

#include <optional>
#include <string_view>

#include "core/lifecycle.h"
#include "core/options.h"
#include "loop/event_loop.h"
#include "loop/timers.h"
#include "server/log_events.h"
#include "sys/signal_fd.h"

namespace pool_server {

// What the process is asked for by signals.
class DrainHost {
 public:
  enum class Asked : unsigned char {
    kStop,
    kRestart,  // another process of the service is about to take over
    kEither,   // nobody said which
  };
  struct Begun {
    TimeUs time = 0;  // that the drain may take, in µs
    std::string_view what;
  };
  virtual Begun begin_drain(Asked asked) = 0;
  virtual void request_reload() = 0;
  // No newcomers until it is called again.
  virtual void toggle_lame_duck() = 0;

 protected:
  ~DrainHost() = default;
};

// Signals, and the way from running to stopped. Loop thread only.
//
//   SIGTERM, SIGINT  begin the drain; a second one, or the end of its time, ends it
//   SIGUSR1          a successor follows: a SIGTERM within kAnnouncementHolds is one half of a
//                    restart
//   SIGRTMIN         it does not, or does not after all; a signal of its own, or it would be lost
//                    while the first is pending, and one that is read after SIGTERM has the last
//                    word all the same
//   SIGUSR2          no newcomers, or newcomers again
//   SIGHUP           reload
class Drain final : public EventSource {
 public:
  // The service manager sends SIGTERM right after whoever announced the restart has ended. A
  // restart that does not come must not make a restart of a stop that is asked for later.
  static constexpr TimeUs kAnnouncementHolds = 5'000'000;

  // `all_announced`: a stop is announced, too, by SIGRTMIN. Who sends SIGTERM without a word does
  // not know which it is: the service manager, where it leaves ExecStop= out, as while the service
  // starts or reloads.
  Drain(SignalFd& signals, EventLoop& loop, Timers& timers, DrainHost& host, bool all_announced);
  Drain(const Drain&) = delete;
  Drain& operator=(const Drain&) = delete;
  ~Drain();

  void on_events(std::uint32_t events) override;
  // End of round, first: begins the drain when it was asked for. Not while events are dispatched,
  // as others of the round may name what goes. Throws std::bad_alloc to be called again, and what
  // ends the server when that has gone on for seconds.
  void begin_if_asked();
  // End of round, last; ends the loop when the drain is over.
  void tick(bool work_left);
  // Begins the drain as for a restart, and ends it in this round.
  void stop_now();
  // Begins the drain as for a restart, at the end of this round: something that cannot be mended
  // has failed.
  void begin_for_failure();
  // What is left is not worth waiting for any longer than until `at`.
  void hasten(TimeUs at);
  bool draining() const { return lifecycle_.draining(); }
  bool cut_short() const { return lifecycle_.cut_short(); }

 private:
  void obey(const SignalFd::Signal& signal);
  DrainHost::Asked asked() const;
  void ask_for_stop(const SignalFd::Signal& signal);
  void tell(log::Event event, const SignalFd::Signal& signal, std::string_view what);

  SignalFd& signals_;
  EventLoop& loop_;
  Timers& timers_;
  DrainHost& host_;
  Lifecycle lifecycle_;
  const bool all_announced_;
  TimeUs successor_until_ = 0;  // until then, a stop is one half of a restart,
  TimeUs stop_until_ = 0;       // ... or is none
  bool begin_asked_ = false;
  std::optional<DrainHost::Begun> begun_;
  TimeUs asked_at_ = 0;
  bool for_failure_ = false;
  SignalFd::Signal asked_by_;
  CallbackTimer deadline_;  // only wakes the loop, tick() decides
};

}  // namespace pool_server
