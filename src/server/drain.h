#pragma once

#include <functional>

#include "core/lifecycle.h"
#include "core/options.h"
#include "loop/event_loop.h"
#include "loop/timers.h"
#include "sys/signal_fd.h"

namespace pool_server {

// Signals, and the way from running to stopped: SIGHUP reloads, SIGTERM or SIGINT begins the drain,
// a second one or --drain-timeout ends it. Loop thread only.
class Drain final : public EventSource {
 public:
  // `begin` starts the drain; `reload` is what SIGHUP asks for.
  Drain(const Options& options, SignalFd& signals, EventLoop& loop, Timers& timers,
        std::function<void()> begin, std::function<void()> reload);
  Drain(const Drain&) = delete;
  Drain& operator=(const Drain&) = delete;
  ~Drain();

  void on_events(std::uint32_t events) override;
  // End of round, first: begins the drain when it was asked for. Not while events are dispatched,
  // as others of the round may name what goes.
  void begin_if_asked();
  // End of round, last; ends the loop when the drain is over.
  void tick(bool work_left);
  // Begins the drain as a signal does, and ends it in this round.
  void stop_now();
  // What is left is not worth waiting for any longer than until `at`.
  void hasten(TimeUs at);
  bool draining() const { return lifecycle_.draining(); }
  bool cut_short() const { return lifecycle_.cut_short(); }

 private:
  const Options& options_;
  SignalFd& signals_;
  EventLoop& loop_;
  Timers& timers_;
  std::function<void()> begin_;
  std::function<void()> reload_;
  Lifecycle lifecycle_;
  bool begin_asked_ = false;
  CallbackTimer deadline_;  // only wakes the loop, tick() decides
};

}  // namespace pool_server
