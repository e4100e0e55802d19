#include "children/exchange.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "sys/memory.h"
#include "sys/patient_poll.h"

namespace pool_server {

Exchange::Event Exchange::wait(Child& child, const Ask& ask, Watch watch, int patience_ms) {
  for (;;) {
    pollfd ends[4] = {{child.output(), POLLIN, 0},
                      {child.lifeline(), POLLIN, 0},
                      {ask.wake.fd(), POLLIN, 0},
                      {watch == Watch::kNothing ? -1 : child.input(),
                       static_cast<short>(watch == Watch::kRoom ? POLLOUT : 0), 0}};
    const int ready = patient_poll(ends, patience_ms);
    if (ready == 0) return Event::kLate;
    if (ready < 0) continue;
    if (ends[2].revents != 0) {
      ask.wake.clear();
      if (ask.stop.stop_requested()) return Event::kStopped;  // else it was for an earlier request
    }
    if (ends[1].revents != 0) {
      if (auto end = child.end()) {
        end_ = std::move(*end);
        return Event::kEnded;
      }
    }
    if (ends[0].revents != 0) return Event::kReady;
    if ((ends[3].revents & POLLERR) != 0) return Event::kDeaf;
    if (ends[3].revents != 0) return Event::kReady;
  }
}

bool Exchange::is_for_now(int error) {
  if (error == EAGAIN) return true;
  if (error != ENOMEM && error != ENOBUFS) return false;
  ::usleep(kPauseWithoutMemory);
  return true;
}

}  // namespace pool_server
