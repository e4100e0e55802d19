#pragma once

#include <vector>

#include "sys/service_manager.h"
#include "sys/signal_fd.h"
#include "sys/unique_fd.h"

namespace pool_server {

// Paces starts that fail one after the other, for which systemd has RestartSteps= from 254 on only.
// How many there were is a byte in a memfd that the service manager keeps for the next try. Each
// start counts as failed until succeeded() is called, so that one that crashes counts, too. Without
// a manager there is nobody who tries again, and nothing is paced. Main thread only, before the
// first other one.
class FailedStarts {
 public:
  static constexpr const char* kName = "pool-server-failed-starts";  // in the manager's store

  // Takes the count out of `passed`, if it is there. What cannot be counted (no descriptor, no
  // memory, a manager that does not read) is not paced, and no error.
  explicit FailedStarts(std::vector<service_manager::PassedFd>& passed);

  // How long the start that follows `failed` ones has to wait, in s.
  static unsigned pause_after(unsigned failed);

  enum class Wait : unsigned char { kNone, kOver, kStopped };
  // Waits as long as is due; kStopped: a signal came that ends the process. That is somebody at
  // work, who is not to wait again at the next start.
  Wait wait(SignalFd& signals);

  void succeeded();

 private:
  void set(unsigned failed);

  UniqueFd count_;
  unsigned failed_ = 0;
};

}  // namespace pool_server
