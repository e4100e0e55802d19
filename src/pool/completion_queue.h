#pragma once

#include <span>
#include <vector>

#include "core/run.h"
#include "core/run_chain.h"
#include "sys/event_fd.h"
#include "sys/mutex.h"

namespace pool_server {

// Carries ended runs from the workers to the loop, in batches, and wakes the loop by eventfd only
// when it really sleeps.
class CompletionQueue {
 public:
  // Any worker. Takes the runs out of `ended`. Allocates nothing, and cannot fail.
  void post(std::span<RunPtr> ended) noexcept PS_EXCLUDES(mutex_);
  // Any worker. Wakes the loop without a completion.
  void wake_loop() PS_EXCLUDES(mutex_);

  // Loop thread. Moves everything posted into `taken`, which must be empty. Nothing there: the loop
  // is taken to sleep from now on, and the next post() signals the eventfd. Returns whether there
  // was anything to take. Throws std::bad_alloc, and has lost nothing then: it comes the next time.
  bool take_or_sleep(std::vector<RunPtr>& taken) PS_EXCLUDES(mutex_);

  // Readable when the loop was woken; the loop clears it.
  EventFd& event() { return event_; }

 private:
  EventFd event_;
  Mutex mutex_;
  RunChain posted_ PS_GUARDED_BY(mutex_);
  bool loop_sleeps_ PS_GUARDED_BY(mutex_) = true;
  RunChain in_hand_;  // the loop's: taken out of posted_, and not yet moved on
  bool woken_ PS_GUARDED_BY(mutex_) = false;  // wake_loop() came while the loop was awake
};

}  // namespace pool_server
