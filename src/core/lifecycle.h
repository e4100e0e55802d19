#pragma once

#include "core/ids.h"

namespace pool_server {

// running → draining → stopped, and never back. Pure.
//
// A first stop request begins the drain, a second one or the drain's deadline ends it.
class Lifecycle {
 public:
  enum class State : unsigned char { kRunning, kDraining, kStopped };

  State state() const { return state_; }
  bool running() const { return state_ == State::kRunning; }
  bool draining() const { return state_ == State::kDraining; }
  bool stopped() const { return state_ == State::kStopped; }

  // Time after which what is left is given up; kNever until the drain has begun.
  TimeUs drain_deadline() const { return drain_deadline_; }
  // The drain ended with work given up.
  bool cut_short() const { return cut_short_; }

  void request_stop(TimeUs now, TimeUs drain_timeout);
  // Brings the drain's deadline forward to `at`.
  void hasten(TimeUs at);
  void tick(TimeUs now, bool work_left);

 private:
  State state_ = State::kRunning;
  TimeUs drain_deadline_ = kNever;
  bool cut_short_ = false;
  bool stop_asked_again_ = false;
};

}  // namespace pool_server
