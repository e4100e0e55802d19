#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "core/task.h"
#include "core/wipe.h"

namespace pool_server {

// Tasks that have run their course, for use again with the capacity of their strings: the steady
// state allocates nothing. Loop thread only.
class TaskRecycler {
 public:
  TaskRecycler() { spare_.reserve(kMaxSpare); }  // giving takes no memory

  TaskPtr take() {
    if (spare_.empty()) return std::make_unique<Task>();
    TaskPtr task = std::move(spare_.back());
    spare_.pop_back();
    task->reset();
    return task;
  }

  // Nothing of the request or its reply stays in what is kept; operator delete wipes the rest.
  void give(TaskPtr task) {
    const bool large = task->text.capacity() > kMaxKept || task->reply.capacity() > kMaxKept;
    if (large || spare_.size() >= kMaxSpare) return;
    wipe(task->text);
    wipe(task->reply);
    spare_.push_back(std::move(task));
  }

 private:
  // Together at most 10 MiB are kept.
  static constexpr std::size_t kMaxSpare = 2048;
  static constexpr std::size_t kMaxKept = 2048;  // bytes of one string

  std::vector<TaskPtr> spare_;
};

}  // namespace pool_server
