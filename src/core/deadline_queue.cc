#include "core/deadline_queue.h"

#include <algorithm>
#include <utility>

namespace pool_server {

void DeadlineQueue::arm(Deadline& deadline, TimeUs at) {
  const TimeUs previous = std::exchange(deadline.at_, at);
  if (!deadline.armed()) {
    heap_.push_back(&deadline);
    deadline.index_ = heap_.size() - 1;
    sift_up(deadline.index_);
  } else if (at < previous) {
    sift_up(deadline.index_);
  } else {
    sift_down(deadline.index_);
  }
}

void DeadlineQueue::disarm(Deadline& deadline) {
  if (!deadline.armed()) return;
  const std::size_t hole = std::exchange(deadline.index_, Deadline::kNotQueued);
  Deadline* last = heap_.back();
  heap_.pop_back();
  if (last == &deadline) return;
  place(hole, last);
  sift_up(hole);
  sift_down(last->index_);
}

Deadline* DeadlineQueue::pop_due(TimeUs now) {
  if (earliest() > now || heap_.empty()) return nullptr;
  Deadline* due = heap_.front();
  disarm(*due);
  return due;
}

void DeadlineQueue::place(std::size_t index, Deadline* deadline) {
  heap_[index] = deadline;
  deadline->index_ = index;
}

void DeadlineQueue::sift_up(std::size_t index) {
  Deadline* moving = heap_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (heap_[parent]->at_ <= moving->at_) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, moving);
}

void DeadlineQueue::sift_down(std::size_t index) {
  Deadline* moving = heap_[index];
  while (2 * index + 1 < heap_.size()) {
    std::size_t child = 2 * index + 1;
    if (child + 1 < heap_.size() && heap_[child + 1]->at_ < heap_[child]->at_) ++child;
    if (heap_[child]->at_ >= moving->at_) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, moving);
}

}  // namespace pool_server
