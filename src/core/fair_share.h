#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/ids.h"

namespace pool_server {

// Who may still enter a bounded queue that refuses when it is full. Pure; loop thread only.
//
// The first half of the queue is for whoever comes. The other half is shared between the
// connections that have asked lately: each may hold an equal part, and one more part is left free
// for a newcomer. So whoever holds less than its part finds room, whatever the others send, and a
// connection that is alone may fill the whole queue.
//
// "Lately" is in this span of time or the one before, so that a client that asks one thing after
// the other keeps its part while it reads its reply.
class FairShare {
 public:
  static constexpr TimeUs kSpan = 1'000'000;

  // The connection in `slot` asks, at `now`, and has `held` requests under way. `free` of
  // `capacity` places are left.
  bool admits(std::uint32_t slot, std::size_t held, std::size_t free, std::size_t capacity,
              TimeUs now) {
    note(slot, now);
    if (free == 0) return false;
    if (free > capacity / 2 || active_ <= 1) return true;
    return held < std::max<std::size_t>(capacity / 2 / (active_ + 1), 1);
  }

  std::size_t active() const { return active_; }

 private:
  void note(std::uint32_t slot, TimeUs now) {
    const std::uint64_t span = static_cast<std::uint64_t>(now / kSpan) + 2;  // 0: never
    if (span != span_) {
      active_ = span == span_ + 1 ? in_this_span_ : 0;
      in_this_span_ = 0;
      span_ = span;
    }
    if (slot >= last_asked_.size()) last_asked_.resize(slot + 1);
    std::uint64_t& last = last_asked_[slot];
    if (last == span) return;
    ++in_this_span_;
    if (last + 1 != span) ++active_;
    last = span;
  }

  std::uint64_t span_ = 0;
  std::size_t in_this_span_ = 0;
  std::size_t active_ = 0;                 // in this span or the one before
  std::vector<std::uint64_t> last_asked_;  // by slot: the span
};

}  // namespace pool_server
