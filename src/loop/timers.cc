#include "loop/timers.h"

namespace pool_server {

void Timers::fire_due(TimeUs now) {
  while (Deadline* due = queue_.pop_due(now)) static_cast<Timer*>(due)->callback_(now);
}

}  // namespace pool_server
