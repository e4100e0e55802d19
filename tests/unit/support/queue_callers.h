#pragma once

#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "pool/task_queue.h"
#include "support/tasks.h"
#include "support/waiting.h"
#include "sys/thread.h"

namespace pool_server {

using Numbers = std::vector<std::uint64_t>;

// A worker that pops on the calling thread.
class Popper {
 public:
  explicit Popper(TaskQueue& queue) : queue_(queue) {}

  // Up to `most` in one call.
  Numbers pop(std::size_t most = 1) {
    std::array<RunPtr, 32> batch;
    const std::size_t count =
        queue_.pop(sleeper_, std::span(batch).first(most), /*now=*/0, loop_waits_);
    nudged_ = count == TaskQueue::kNudged;
    if (nudged_) return {};
    Numbers numbers;
    for (std::size_t i = 0; i < count; ++i) add_numbers_of(*batch[i], numbers);
    return numbers;
  }
  Numbers pop_all() {
    Numbers all;
    while (queue_.level().depth > 0) {
      const Numbers some = pop(32);
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  }
  bool loop_waits() const { return loop_waits_; }
  bool nudged() const { return nudged_; }  // it returned for no other reason
  TaskQueue::Sleeper& sleeper() { return sleeper_; }

 private:
  TaskQueue& queue_;
  TaskQueue::Sleeper sleeper_;
  bool loop_waits_ = false;
  bool nudged_ = false;
};

// A call on a thread of its own that is expected to block.
class BlockedCall {
 public:
  explicit BlockedCall(std::function<void()> call)
      : thread_("caller", [this, call = std::move(call)] {
          tid_ = ::gettid();
          call();
          returned_ = true;
        }) {}
  // It has gone to sleep, and not returned.
  bool blocks() {
    return eventually([&] { return returned_ || (tid_ != 0 && is_asleep(tid_)); }) && !returned_;
  }
  bool returns() {
    return eventually([&] { return returned_.load(); });
  }

 private:
  std::atomic<pid_t> tid_ = 0;
  std::atomic<bool> returned_ = false;
  Thread thread_;
};

inline void fill(TaskQueue& queue, std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) REQUIRE(queue.push(task(first + i)));
}

}  // namespace pool_server
