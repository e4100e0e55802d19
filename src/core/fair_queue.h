#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/ids.h"

namespace pool_server {

// A bounded queue that is taken from round-robin over connections: one greedy client delays the
// others by one item each, not by all of its own. Pure; not thread-safe.
//
// The scheme is plain round robin over per-flow FIFOs (Nagle, "On Packet Switches With Infinite
// Storage", RFC 970); items are the unit, as they are cut so that each is about as much work.
// Item carries `ConnectionId connection`, counts as `size()` against the capacity (1 and more), and
// is linked through its own `Item* next`.
//
// Invariants: size() is the sum of the sizes of the items in all flows; a flow with items is in the
// ring exactly once; a flow without items is in the ring at most once (after cancel) and skipped
// there. Order within one connection is kept. Nothing is allocated but the table of flows, which
// grows to the highest slot seen or expected.
template <class Item>
class FairQueue {
 public:
  explicit FairQueue(std::size_t capacity) : capacity_(capacity) {}
  FairQueue(const FairQueue&) = delete;
  FairQueue& operator=(const FairQueue&) = delete;
  ~FairQueue() {
    while (pop() != nullptr) {
    }
  }

  std::size_t size() const { return size_; }
  std::size_t items() const { return items_; }
  bool empty() const { return items_ == 0; }
  std::size_t capacity() const { return capacity_; }
  void set_capacity(std::size_t capacity) { capacity_ = capacity; }  // may be below size()
  std::size_t free() const { return size_ < capacity_ ? capacity_ - size_ : 0; }

  // Makes room in the table of flows for slots below `slots`: no item of theirs allocates anything
  // then. Throws std::bad_alloc, and has changed nothing then.
  void expect_slots(std::size_t slots) {
    if (slots > flows_.size()) flows_.resize(slots);
  }

  void push(std::unique_ptr<Item> item) {
    assert(free() >= item->size());
    Flow& flow = flow_of(item->connection);
    Item* added = item.release();
    added->next = nullptr;
    (flow.head == nullptr ? flow.head : flow.tail->next) = added;
    flow.tail = added;
    enter_ring(added->connection.slot);
    count(*added);
  }

  // Gives back an item that was popped and not begun: it is the first of its connection again. Its
  // room was never promised to anyone else for long, so this may exceed the capacity.
  void push_front(std::unique_ptr<Item> item) {
    Flow& flow = flow_of(item->connection);
    Item* added = item.release();
    added->next = flow.head;
    if (flow.head == nullptr) flow.tail = added;
    flow.head = added;
    enter_ring(added->connection.slot);
    count(*added);
  }

  // What pop() would give, still owned by the queue; null when empty.
  const Item* front() {
    skip_empty_flows();
    return ring_head_ == kNone ? nullptr : flows_[ring_head_].head;
  }

  // The first item of the connection whose turn it is; null when empty.
  std::unique_ptr<Item> pop() {
    skip_empty_flows();
    if (ring_head_ == kNone) return nullptr;
    const std::uint32_t slot = leave_ring();
    Flow& flow = flows_[slot];
    std::unique_ptr<Item> item(flow.head);
    flow.head = item->next;
    item->next = nullptr;
    if (flow.head != nullptr) enter_ring(slot);
    count_out(*item);
    return item;
  }

  // Takes out everything `connection` has queued and hands it to `sink(std::unique_ptr<Item>)`.
  template <class Sink>
  void cancel(ConnectionId connection, Sink sink) {
    if (connection.slot >= flows_.size()) return;
    Flow& flow = flows_[connection.slot];
    Item* item = std::exchange(flow.head, nullptr);
    flow.tail = nullptr;
    while (item != nullptr) {
      Item* following = std::exchange(item->next, nullptr);
      if (item->connection == connection) {
        count_out(*item);
        sink(std::unique_ptr<Item>(item));
      } else {  // an earlier or later owner of the same slot
        (flow.head == nullptr ? flow.head : flow.tail->next) = item;
        flow.tail = item;
      }
      item = following;
    }
  }

  // Takes out every item accepted at `limit` or earlier (Item has `TimeUs accepted_at`, ascending
  // within a connection) and hands it to `sink`. Returns when the oldest one left was accepted.
  template <class Sink>
  TimeUs take_accepted_by(TimeUs limit, Sink sink) {
    TimeUs oldest = kNever;
    skip_empty_flows();
    for (std::uint32_t slot = ring_head_; slot != kNone; slot = flows_[slot].next_in_ring) {
      Flow& flow = flows_[slot];
      while (flow.head != nullptr && flow.head->accepted_at <= limit) {
        std::unique_ptr<Item> item(flow.head);
        flow.head = std::exchange(item->next, nullptr);
        count_out(*item);
        sink(std::move(item));
      }
      if (flow.head != nullptr) oldest = std::min(oldest, flow.head->accepted_at);
    }
    return oldest;
  }

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct Flow {
    Item* head = nullptr;
    Item* tail = nullptr;
    std::uint32_t next_in_ring = kNone;
    bool in_ring = false;
  };

  Flow& flow_of(ConnectionId connection) {
    expect_slots(connection.slot + std::size_t{1});
    return flows_[connection.slot];
  }

  void enter_ring(std::uint32_t slot) {
    Flow& flow = flows_[slot];
    if (flow.in_ring) return;
    flow.in_ring = true;
    flow.next_in_ring = kNone;
    (ring_head_ == kNone ? ring_head_ : flows_[ring_tail_].next_in_ring) = slot;
    ring_tail_ = slot;
  }

  std::uint32_t leave_ring() {
    const std::uint32_t slot = ring_head_;
    ring_head_ = flows_[slot].next_in_ring;
    flows_[slot].in_ring = false;
    return slot;
  }

  void count(const Item& item) {
    size_ += item.size();
    ++items_;
  }
  void count_out(const Item& item) {
    size_ -= item.size();
    --items_;
  }

  void skip_empty_flows() {
    while (ring_head_ != kNone && flows_[ring_head_].head == nullptr) leave_ring();
  }

  std::size_t capacity_;
  std::size_t size_ = 0;
  std::size_t items_ = 0;
  std::vector<Flow> flows_;  // by connection slot
  std::uint32_t ring_head_ = kNone;
  std::uint32_t ring_tail_ = kNone;  // meaningful only while the ring is not empty
};

}  // namespace pool_server
