#pragma once

#include <cstddef>
#include <utility>

#include "core/task.h"

namespace pool_server {

// Tasks in the order in which they were added, linked through Task::next: whoever adds one, a
// worker that cannot fail say, allocates nothing. Pure; not thread-safe.
class TaskChain {
 public:
  TaskChain() = default;
  TaskChain(const TaskChain&) = delete;
  TaskChain& operator=(const TaskChain&) = delete;
  ~TaskChain() {
    while (pop() != nullptr) {
    }
  }

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

  void push(TaskPtr task) noexcept {
    Task* added = task.release();
    added->next = nullptr;
    (last_ == nullptr ? first_ : last_->next) = added;
    last_ = added;
    ++size_;
  }

  void swap(TaskChain& other) noexcept {
    std::swap(first_, other.first_);
    std::swap(last_, other.last_);
    std::swap(size_, other.size_);
  }

  // Null when empty.
  TaskPtr pop() noexcept {
    if (first_ == nullptr) return nullptr;
    TaskPtr task(first_);
    first_ = std::exchange(task->next, nullptr);
    if (first_ == nullptr) last_ = nullptr;
    --size_;
    return task;
  }

 private:
  Task* first_ = nullptr;
  Task* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace pool_server
