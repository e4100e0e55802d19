#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"

namespace pool_server {

// Counts durations in buckets of equal relative width: 2^SubBits per power of two, so a percentile
// is at most 1/2^SubBits above the true value, up to 2^36 - 1 units (longer ones count as that).
// The unit is the caller's. The log-linear layout is that of Gil Tene's HdrHistogram. Fixed size,
// no allocation.
template <int SubBits>
class LogLinearHistogram {
 public:
  void record(std::int64_t duration) {
    const auto counted = static_cast<std::uint64_t>(std::clamp(duration, kLowest, kHighest));
    ++buckets_[bucket_of(counted)];
    ++count_;
    sum_ += counted;
  }
  std::uint64_t count() const { return count_; }
  std::uint64_t sum() const { return sum_; }  // of all durations recorded

  // How many were shorter than 2^`power` units: exact, as a bucket ends there.
  std::uint64_t count_below_power(int power) const {
    const std::size_t end = std::min(bucket_of(std::uint64_t{1} << power), kBuckets);
    std::uint64_t count = 0;
    for (std::size_t bucket = 0; bucket < end; ++bucket) count += buckets_[bucket];
    return count;
  }

  // The smallest bucket limit that at least `percent` of the recorded durations do not exceed; 0
  // when nothing was recorded.
  std::int64_t percentile(double percent) const {
    const auto wanted = static_cast<std::uint64_t>(
        std::ceil(static_cast<double>(count_) * std::clamp(percent, 0.0, 100.0) / 100.0));
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      seen += buckets_[bucket];
      if (seen > 0 && seen >= wanted) return upper_limit(bucket);
    }
    return 0;
  }

  // What was recorded since this was a copy of `earlier`.
  LogLinearHistogram since(const LogLinearHistogram& earlier) const {
    LogLinearHistogram rest = *this;
    rest.count_ -= earlier.count_;
    rest.sum_ -= earlier.sum_;
    for (std::size_t i = 0; i < kBuckets; ++i) rest.buckets_[i] -= earlier.buckets_[i];
    return rest;
  }

  // All of it as so many numbers, and back. Numbers that are missing are zeros.
  static constexpr std::size_t numbers() { return 1 + kBuckets; }
  void append_to(std::vector<std::uint64_t>& numbers) const {
    numbers.push_back(sum_);
    numbers.insert(numbers.end(), buckets_.begin(), buckets_.end());
  }
  void restore(std::span<const std::uint64_t> numbers) {
    *this = {};
    if (numbers.empty()) return;
    sum_ = numbers.front();
    numbers = numbers.subspan(1, std::min(numbers.size() - 1, kBuckets));
    std::ranges::copy(numbers, buckets_.begin());
    for (const std::uint64_t bucket : buckets_) count_ += bucket;
  }

 private:
  static constexpr int kMaxBits = 36;
  static constexpr std::int64_t kLowest = 0;
  static constexpr std::int64_t kHighest = (std::int64_t{1} << kMaxBits) - 1;
  static constexpr std::size_t kBuckets = (kMaxBits - SubBits + 1) << SubBits;

  // Values below 2^SubBits have a bucket each; above, the top SubBits + 1 bits choose it.
  static std::size_t bucket_of(std::uint64_t duration) {
    const auto width = static_cast<int>(std::bit_width(duration));
    if (width <= SubBits) return static_cast<std::size_t>(duration);
    const int shift = width - SubBits - 1;
    const std::uint64_t sub = (duration >> shift) & ((1U << SubBits) - 1);
    return (static_cast<std::size_t>(shift + 1) << SubBits) + static_cast<std::size_t>(sub);
  }

  static std::int64_t upper_limit(std::size_t bucket) {
    if (bucket < (1U << SubBits)) return static_cast<std::int64_t>(bucket);
    const std::size_t shift = (bucket >> SubBits) - 1;
    const std::uint64_t sub = (bucket & ((1U << SubBits) - 1)) + (1U << SubBits);
    return static_cast<std::int64_t>(((sub + 1) << shift) - 1);
  }

  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::array<std::uint64_t, kBuckets> buckets_{};
};

// The server's own, in µs: within 6.25 % up to 19 hours.
using LatencyHistogram = LogLinearHistogram<4>;

}  // namespace pool_server
