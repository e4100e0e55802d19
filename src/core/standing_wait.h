#pragma once

#include "core/ids.h"

namespace pool_server {

// Tells a burst, which a queue is there to absorb, from a standing wait, which serves nobody: while
// even the shortest wait of a whole interval was above the target, tasks that waited longer than
// the target are shed, so that those behind them are served in time.
//
// After CoDel (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012; RFC 8289), in the
// form for request queues of Maurer, "Fail at Scale", ACM Queue 2015. Pure.
class StandingWait {
 public:
  // CoDel's interval: longer than a burst, shorter than a client's patience.
  static constexpr TimeUs kInterval = 100'000;

  // `target` in µs; 0: never shed.
  explicit StandingWait(TimeUs target = 0) : target_(target) {}

  // A task that waited for `waited` µs is about to be begun: is it to be shed instead?
  bool sheds(TimeUs now, TimeUs waited);

 private:
  TimeUs target_;
  TimeUs interval_end_ = 0;
  TimeUs shortest_ = kNever;  // wait of this interval
  bool standing_ = false;     // in the interval before
};

}  // namespace pool_server
