#include "pool/completion_queue.h"

#include <cassert>
#include <utility>

namespace pool_server {

void CompletionQueue::post(std::span<RunPtr> ended) noexcept {
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    for (RunPtr& run : ended) posted_.push(std::move(run));
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

bool CompletionQueue::take_or_sleep(std::vector<RunPtr>& taken) {
  assert(taken.empty());
  bool anything = false;
  {
    const MutexLock lock(mutex_);
    if (in_hand_.empty()) in_hand_.swap(posted_);
    anything = std::exchange(woken_, false) || !in_hand_.empty();
    loop_sleeps_ = !anything;
  }
  taken.reserve(in_hand_.size());
  while (!in_hand_.empty()) taken.push_back(in_hand_.pop());
  return anything;
}

}  // namespace pool_server
