#include "core/pool_sizer.h"

#include <algorithm>

namespace pool_server {

PoolSizer::PoolSizer(unsigned min_workers, unsigned max_workers, TimeUs idle_timeout)
    : min_(min_workers), max_(max_workers), idle_timeout_(idle_timeout) {}

unsigned PoolSizer::decide(const PoolSample& sample) {
  const unsigned workers = sample.workers;
  if (sample.queued > 0 && sample.busy >= workers && sample.oldest_wait >= kGrowWait) {
    window_start_ = kNever;
    const auto step =
        static_cast<unsigned>(std::min<std::size_t>(sample.queued, std::max(1U, workers)));
    return std::clamp(workers + step, min_, max_);
  }
  if (window_start_ == kNever) {
    window_start_ = sample.now;
    window_peak_ = sample.busy;
  }
  window_peak_ = std::max(window_peak_, sample.busy);
  unsigned wanted = workers;
  if (sample.now - window_start_ >= idle_timeout_) {
    wanted = std::min(workers, window_peak_);
    window_start_ = kNever;
  }
  return std::clamp(wanted, min_, max_);
}

}  // namespace pool_server
