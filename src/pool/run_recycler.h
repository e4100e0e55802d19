#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "core/run.h"

namespace pool_server {

// Runs that have run their course, for use again with the capacity of what they own: the steady
// state allocates nothing. Loop thread only.
class RunRecycler {
 public:
  RunRecycler() { spare_.reserve(kMaxSpare); }  // giving takes no memory

  RunPtr take() {
    if (spare_.empty()) return std::make_unique<Run>();
    RunPtr run = std::move(spare_.back());
    spare_.pop_back();
    kept_ -= run->capacity();
    return run;
  }

  // Nothing of the requests or their replies stays in what is kept; operator delete wipes the rest.
  void give(RunPtr run) {
    const std::size_t bytes = run->capacity();
    if (bytes > kMaxOfOne || kept_ + bytes > kMaxKept || spare_.size() == kMaxSpare) return;
    run->reset();
    kept_ += bytes;
    spare_.push_back(std::move(run));
  }

 private:
  static constexpr std::size_t kMaxSpare = 2048;
  static constexpr std::size_t kMaxOfOne = 64 * 1024;            // bytes
  static constexpr std::size_t kMaxKept = std::size_t{8} << 20;  // of all

  std::vector<RunPtr> spare_;
  std::size_t kept_ = 0;
};

}  // namespace pool_server
