#include "core/lifecycle.h"

#include <algorithm>

namespace pool_server {

void Lifecycle::request_stop(TimeUs now, TimeUs drain_timeout) {
  if (state_ == State::kRunning) {
    state_ = State::kDraining;
    drain_deadline_ = now > kNever - drain_timeout ? kNever : now + drain_timeout;
  } else {
    stop_asked_again_ = true;
  }
}

void Lifecycle::hasten(TimeUs at) {
  drain_deadline_ = std::min(drain_deadline_, at);
}

void Lifecycle::tick(TimeUs now, bool work_left) {
  if (state_ != State::kDraining) return;
  if (!work_left) {
    state_ = State::kStopped;
  } else if (stop_asked_again_ || now >= drain_deadline_) {
    state_ = State::kStopped;
    cut_short_ = true;
  }
}

}  // namespace pool_server
