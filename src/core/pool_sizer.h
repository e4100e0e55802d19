#pragma once

#include <cstddef>

#include "core/ids.h"

namespace pool_server {

// What the pool did since the previous sample.
struct PoolSample {
  TimeUs now = 0;
  unsigned workers = 0;    // that there are
  unsigned busy = 0;       // the most that were needed at once since the last sample
  std::size_t queued = 0;  // tasks waiting now
  TimeUs oldest_wait = 0;  // how long the first of them has been waiting
};

// Decides how many workers there should be. Pure: samples in, a number out.
//
// Grows on waiting, not on a full queue: while every worker is busy and the oldest task has waited
// kGrowWait or longer, the pool doubles, but adds no more workers than tasks are waiting. Shrinks
// to the most workers that were needed at once over a whole idle timeout.
class PoolSizer {
 public:
  // Long enough that a worker which just woke is not taken for a missing one, short enough that a
  // client does not notice.
  static constexpr TimeUs kGrowWait = 2'000;

  PoolSizer(unsigned min_workers, unsigned max_workers, TimeUs idle_timeout);

  unsigned min_workers() const { return min_; }
  unsigned max_workers() const { return max_; }
  unsigned decide(const PoolSample& sample);

 private:
  unsigned min_;
  unsigned max_;
  TimeUs idle_timeout_;
  TimeUs window_start_ = kNever;  // of the idle timeout that is being watched
  unsigned window_peak_ = 0;      // the most workers needed in it
};

}  // namespace pool_server
