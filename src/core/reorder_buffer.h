#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace pool_server {

// Puts results that come in any order back into the order of the requests. Pure.
//
// A sequence number is reserved for each request, answered or refused; put() files the results of
// one or of consecutive ones, and take_next() gives them back in the order of the reservations.
// Node is the results themselves, linked through its own `Node* next`, which fill the places from
// its `std::uint64_t sequence` up to its `end()`, so that nothing is allocated here and an idle
// connection holds four words.
//
// Invariant: the held list is sorted by sequence, and every sequence in it is >= next_to_release_.
template <class Node>
class ReorderBuffer {
 public:
  ReorderBuffer() = default;
  ReorderBuffer(const ReorderBuffer&) = delete;
  ReorderBuffer& operator=(const ReorderBuffer&) = delete;
  ~ReorderBuffer() {
    while (head_ != nullptr) delete std::exchange(head_, head_->next);
  }

  std::uint64_t reserve() { return next_to_reserve_++; }

  // Each reserved sequence is put exactly once.
  void put(std::unique_ptr<Node> owned) {
    Node* node = owned.release();
    assert(node->sequence >= next_to_release_ && node->end() <= next_to_reserve_);
    // Results come nearly in order, so the place is nearly always the end.
    if (head_ == nullptr || tail_->sequence < node->sequence) {
      (head_ == nullptr ? head_ : tail_->next) = node;
      tail_ = node;
      node->next = nullptr;
      return;
    }
    Node** link = &head_;
    while ((*link)->sequence < node->sequence) link = &(*link)->next;
    assert((*link)->sequence >= node->end());
    node->next = *link;
    *link = node;
  }

  // The next results in order, or null while they have not come.
  std::unique_ptr<Node> take_next() {
    if (next() == nullptr) return nullptr;
    std::unique_ptr<Node> node(head_);
    head_ = head_->next;
    node->next = nullptr;
    next_to_release_ = node->end();
    return node;
  }

  // What take_next() would give, still owned by the buffer.
  const Node* next() const {
    return head_ != nullptr && head_->sequence == next_to_release_ ? head_ : nullptr;
  }

  // Gives up the first results that are held, whether their turn has come or not; null: there are
  // none. For the end: nothing may be put afterwards.
  std::unique_ptr<Node> give_up_first() {
    std::unique_ptr<Node> node(head_);
    if (head_ != nullptr) head_ = std::exchange(head_->next, nullptr);
    return node;
  }

  std::uint64_t outstanding() const { return next_to_reserve_ - next_to_release_; }
  std::uint64_t next_to_release() const { return next_to_release_; }

 private:
  std::uint64_t next_to_reserve_ = 0;
  std::uint64_t next_to_release_ = 0;
  Node* head_ = nullptr;
  Node* tail_ = nullptr;  // meaningful only while head_ is not null
};

}  // namespace pool_server
