#include "pool/completion_queue.h"

#include <cassert>
#include <iterator>
#include <utility>

namespace pool_server {

void CompletionQueue::post(std::span<TaskPtr> ended) {
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    posted_.insert(posted_.end(), std::make_move_iterator(ended.begin()),
                   std::make_move_iterator(ended.end()));
    wake = std::exchange(loop_sleeps_, false);
  }
  if (wake) event_.signal();  // outside the lock: no system call under a mutex the loop needs
}

void CompletionQueue::wake_loop() {
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    woken_ = true;
    wake = std::exchange(loop_sleeps_, false);
  }
  if (wake) event_.signal();
}

bool CompletionQueue::take_or_sleep(std::vector<TaskPtr>& taken) {
  assert(taken.empty());
  const MutexLock lock(mutex_);
  taken.swap(posted_);
  const bool anything = !taken.empty() || std::exchange(woken_, false);
  woken_ = false;
  loop_sleeps_ = !anything;
  return anything;
}

}  // namespace pool_server
