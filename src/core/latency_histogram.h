#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/ids.h"

namespace pool_server {

// Counts durations in buckets of equal relative width: 16 per power of two, so a percentile is at
// most 1/16 (6.25 %) above the true value, from 1 µs to 2^36 µs (19 hours; longer ones count as
// that). The log-linear layout is that of Gil Tene's HdrHistogram. Fixed size, no allocation.
class LatencyHistogram {
 public:
  void record(TimeUs duration);
  std::uint64_t count() const { return count_; }

  // The smallest bucket limit that at least `percent` of the recorded durations do not exceed, in
  // µs; 0 when nothing was recorded.
  TimeUs percentile(double percent) const;

 private:
  static constexpr int kSubBits = 4;
  static constexpr int kMaxBits = 36;
  static constexpr std::size_t kBuckets = (kMaxBits - kSubBits + 1) << kSubBits;

  static std::size_t bucket_of(std::uint64_t duration);
  static TimeUs upper_limit(std::size_t bucket);

  std::uint64_t count_ = 0;
  std::array<std::uint64_t, kBuckets> buckets_{};
};

}  // namespace pool_server
