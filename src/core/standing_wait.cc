#include "core/standing_wait.h"

namespace pool_server {

bool StandingWait::sheds(TimeUs now, TimeUs waited) {
  if (target_ == 0) return false;
  // Accepted after the last one was begun: the queue may have been empty in between.
  const bool queue_was_empty = now - waited > last_begin_;
  last_begin_ = now;
  if (waited <= target_) {
    above_since_ = kNever;
    return false;
  }
  if (above_since_ == kNever || queue_was_empty) above_since_ = now;
  return now - above_since_ >= kInterval;
}

void StandingWaits::expect_slots(std::size_t slots) {
  if (target_ > 0 && slots > of_slot_.size()) of_slot_.resize(slots, StandingWait(target_));
}

bool StandingWaits::sheds(std::uint32_t slot, TimeUs now, TimeUs waited) {
  if (target_ == 0) return false;
  expect_slots(slot + std::size_t{1});
  const bool all_wait = of_all_.sheds(now, waited);
  return of_slot_[slot].sheds(now, waited) || all_wait;
}

}  // namespace pool_server
