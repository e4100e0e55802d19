#pragma once

#include <cstddef>
#include <utility>

#include "core/run.h"

namespace pool_server {

// Runs in the order in which they were added, linked through Run::next: whoever adds one, a
// worker that cannot fail say, allocates nothing. Pure; not thread-safe.
class RunChain {
 public:
  RunChain() = default;
  RunChain(const RunChain&) = delete;
  RunChain& operator=(const RunChain&) = delete;
  ~RunChain() {
    while (pop() != nullptr) {
    }
  }

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

  void push(RunPtr run) noexcept {
    Run* added = run.release();
    added->next = nullptr;
    (last_ == nullptr ? first_ : last_->next) = added;
    last_ = added;
    ++size_;
  }

  void swap(RunChain& other) noexcept {
    std::swap(first_, other.first_);
    std::swap(last_, other.last_);
    std::swap(size_, other.size_);
  }

  // Null when empty.
  RunPtr pop() noexcept {
    if (first_ == nullptr) return nullptr;
    RunPtr run(first_);
    first_ = std::exchange(run->next, nullptr);
    if (first_ == nullptr) last_ = nullptr;
    --size_;
    return run;
  }

 private:
  Run* first_ = nullptr;
  Run* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace pool_server
