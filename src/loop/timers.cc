#include "loop/timers.h"

namespace pool_server {

void Timers::fire_due(TimeUs now) {
  while (Deadline* due = queue_.pop_due(now)) static_cast<Timer*>(due)->on_time(now);
}

}  // namespace pool_server
