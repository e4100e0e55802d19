#include "pool/completion_queue.h"

#include <cassert>
#include <utility>

namespace pool_server {

void CompletionQueue::post(std::span<TaskPtr> ended) noexcept {
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    for (TaskPtr& task : ended) posted_.push(std::move(task));
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
  TaskChain posted;
  bool anything = false;
  {
    const MutexLock lock(mutex_);
    posted.swap(posted_);
    anything = std::exchange(woken_, false) || !posted.empty();
    loop_sleeps_ = !anything;
  }
  taken.reserve(posted.size());
  while (!posted.empty()) taken.push_back(posted.pop());
  return anything;
}

}  // namespace pool_server
