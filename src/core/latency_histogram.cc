#include "core/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pool_server {

void LatencyHistogram::record(TimeUs duration) {
  const auto clamped =
      static_cast<std::uint64_t>(std::clamp<TimeUs>(duration, 0, (TimeUs{1} << kMaxBits) - 1));
  ++buckets_[bucket_of(clamped)];
  ++count_;
}

TimeUs LatencyHistogram::percentile(double percent) const {
  const auto wanted = static_cast<std::uint64_t>(
      std::ceil(static_cast<double>(count_) * std::clamp(percent, 0.0, 100.0) / 100.0));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    seen += buckets_[bucket];
    if (seen > 0 && seen >= wanted) return upper_limit(bucket);
  }
  return 0;
}

// Values below 2^kSubBits have a bucket each; above, the top kSubBits + 1 bits choose it.
std::size_t LatencyHistogram::bucket_of(std::uint64_t duration) {
  const auto width = static_cast<int>(std::bit_width(duration));
  if (width <= kSubBits) return static_cast<std::size_t>(duration);
  const int shift = width - kSubBits - 1;
  const std::uint64_t sub = (duration >> shift) & ((1U << kSubBits) - 1);
  return (static_cast<std::size_t>(shift + 1) << kSubBits) + static_cast<std::size_t>(sub);
}

TimeUs LatencyHistogram::upper_limit(std::size_t bucket) {
  if (bucket < (1U << kSubBits)) return static_cast<TimeUs>(bucket);
  const std::size_t shift = (bucket >> kSubBits) - 1;
  const std::uint64_t sub = (bucket & ((1U << kSubBits) - 1)) + (1U << kSubBits);
  return static_cast<TimeUs>(((sub + 1) << shift) - 1);
}

}  // namespace pool_server
