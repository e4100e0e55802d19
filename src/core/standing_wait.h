#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/ids.h"

namespace pool_server {

// Tells a burst, which a queue is there to absorb, from a standing wait, which serves nobody: once
// every task begun for a whole interval has waited longer than the target, tasks that did are shed,
// so that those behind them are served in time. One that waited less ends it.
//
// After CoDel (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012; RFC 8289), which
// watches the same thing; but it sheds all that are late, as for request queues in Maurer, "Fail at
// Scale", ACM Queue 2015, since clients of a server do not slow down at the loss of one. Pure.
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
  TimeUs above_since_ = kNever;  // every task begun since then had waited longer than the target
  TimeUs last_begin_ = 0;
};

// The standing wait of the whole queue, and that of each connection: where connections take turns,
// one that floods waits long behind itself while others hardly wait at all, and their short waits
// must not save it (compare RFC 8290, "FlowQueue-CoDel"). Pure.
class StandingWaits {
 public:
  explicit StandingWaits(TimeUs target = 0) : target_(target), of_all_(target) {}

  // Makes room for connections in slots below `slots`: sheds() then allocates nothing for them.
  // Throws std::bad_alloc, and has changed nothing then.
  void expect_slots(std::size_t slots);
  // As StandingWait, of a task of the connection in `slot`.
  bool sheds(std::uint32_t slot, TimeUs now, TimeUs waited);

 private:
  TimeUs target_;
  StandingWait of_all_;
  std::vector<StandingWait> of_slot_;  // grows to the highest slot seen; empty without a target
};

}  // namespace pool_server
