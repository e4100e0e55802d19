#include "core/standing_wait.h"

#include <algorithm>

namespace pool_server {

bool StandingWait::sheds(TimeUs now, TimeUs waited) {
  if (target_ == 0) return false;
  if (now >= interval_end_) {
    // An interval in which nothing was begun says nothing about the present.
    standing_ = now < interval_end_ + kInterval && shortest_ != kNever && shortest_ > target_;
    interval_end_ = now + kInterval;
    shortest_ = kNever;
  }
  shortest_ = std::min(shortest_, waited);
  return standing_ && waited > target_;
}

}  // namespace pool_server
