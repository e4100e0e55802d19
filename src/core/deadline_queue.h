#pragma once

#include <cstddef>
#include <vector>

#include "core/ids.h"

namespace pool_server {

// Something that is due at a time. Embedded in its owner, which must take it out of the queue (or
// destroy the queue first) before it goes.
class Deadline {
 public:
  Deadline() = default;
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  bool armed() const { return index_ != kNotQueued; }
  TimeUs at() const { return at_; }

 protected:
  ~Deadline() = default;

 private:
  friend class DeadlineQueue;
  static constexpr std::size_t kNotQueued = SIZE_MAX;

  TimeUs at_ = kNever;
  std::size_t index_ = kNotQueued;
};

// A binary min-heap of deadlines; each knows its place, so moving or removing one is O(log n).
// Pure; not thread-safe.
class DeadlineQueue {
 public:
  void arm(Deadline& deadline, TimeUs at);  // moves it when it is armed already
  // Room for so many more: arming them will allocate nothing.
  void reserve(std::size_t more) { heap_.reserve(heap_.size() + more); }
  void disarm(Deadline& deadline);  // no effect when it is not armed

  TimeUs earliest() const { return heap_.empty() ? kNever : heap_.front()->at_; }
  Deadline* pop_due(TimeUs now);  // the earliest that is due at `now`, disarmed; null when none

 private:
  void place(std::size_t index, Deadline* deadline);
  void sift_up(std::size_t index);
  void sift_down(std::size_t index);

  std::vector<Deadline*> heap_;
};

}  // namespace pool_server
