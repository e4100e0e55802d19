#include "core/fair_queue.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace pool_server {
namespace {

struct Item {
  ConnectionId connection;
  int number = 0;
  TimeUs accepted_at = 0;
  Item* next = nullptr;
  std::size_t weight = 1;

  std::size_t size() const { return weight; }
};

std::unique_ptr<Item> item(std::uint32_t slot, int number, std::uint32_t generation = 1) {
  return std::make_unique<Item>(Item{{slot, generation}, number, number, nullptr, 1});
}

std::vector<int> drain(FairQueue<Item>& queue) {
  std::vector<int> numbers;
  while (!queue.empty()) {
    const int front = queue.front()->number;
    const auto popped = queue.pop();
    CHECK(popped->number == front);
    CHECK(popped->next == nullptr);
    numbers.push_back(popped->number);
  }
  CHECK(queue.front() == nullptr);
  CHECK(queue.pop() == nullptr);
  return numbers;
}

std::vector<int> cancel(FairQueue<Item>& queue, ConnectionId connection) {
  std::vector<int> numbers;
  queue.cancel(connection, [&](std::unique_ptr<Item> taken) { numbers.push_back(taken->number); });
  return numbers;
}

TEST_CASE("fair queue: connections take turns, each in its own order") {
  FairQueue<Item> queue(100);
  for (int i = 0; i < 4; ++i) queue.push(item(7, 70 + i));
  queue.push(item(0, 1));
  queue.push(item(0, 2));
  queue.push(item(3, 30));
  CHECK(queue.size() == 7);
  CHECK(drain(queue) == std::vector<int>{70, 1, 30, 71, 2, 72, 73});
}

TEST_CASE("fair queue: knows its bounds") {
  FairQueue<Item> queue(2);
  CHECK(queue.capacity() == 2);
  CHECK(queue.free() == 2);
  queue.push(item(0, 1));
  queue.push(item(0, 2));
  CHECK(queue.free() == 0);
  queue.push_front(item(0, 0));  // given back: may exceed the capacity
  CHECK(queue.size() == 3);
  CHECK(queue.free() == 0);
  queue.set_capacity(5);
  CHECK(queue.free() == 2);
  queue.set_capacity(1);
  CHECK(queue.free() == 0);
  CHECK(drain(queue) == std::vector<int>{0, 1, 2});
  CHECK(queue.free() == 1);
}

TEST_CASE("fair queue: an item counts as its size, and takes one turn") {
  FairQueue<Item> queue(10);
  const auto heavy = [](std::uint32_t slot, int number, std::size_t weight) {
    auto made = item(slot, number);
    made->weight = weight;
    return made;
  };
  queue.push(heavy(0, 1, 4));
  queue.push(heavy(0, 2, 3));
  queue.push(heavy(1, 10, 2));
  CHECK(queue.size() == 9);
  CHECK(queue.items() == 3);
  CHECK(queue.free() == 1);
  CHECK(queue.pop()->number == 1);
  CHECK(queue.free() == 5);
  queue.push_front(heavy(1, 9, 5));
  CHECK(queue.size() == 10);
  CHECK(queue.pop()->number == 9);
  CHECK(cancel(queue, {0, 1}) == std::vector<int>{2});
  CHECK(queue.size() == 2);
  CHECK(queue.take_accepted_by(10, [](std::unique_ptr<Item>) {}) == kNever);
  CHECK(queue.size() == 0);
  CHECK(queue.items() == 0);
}

TEST_CASE("fair queue: what is given back is the first of its connection again") {
  FairQueue<Item> queue(10);
  queue.push(item(1, 12));
  queue.push(item(2, 20));
  queue.push_front(item(1, 11));
  queue.push_front(item(3, 30));
  queue.push(item(3, 31));
  CHECK(drain(queue) == std::vector<int>{11, 20, 30, 12, 31});
}

TEST_CASE("fair queue: cancelling takes out one connection and leaves the others in order") {
  FairQueue<Item> queue(10);
  for (int i = 0; i < 3; ++i) {
    queue.push(item(0, i));
    queue.push(item(1, 10 + i));
    queue.push(item(2, 20 + i));
  }
  CHECK(cancel(queue, {1, 1}) == std::vector<int>{10, 11, 12});
  CHECK(cancel(queue, {1, 1}).empty());
  CHECK(cancel(queue, {99, 1}).empty());
  CHECK(queue.size() == 6);
  CHECK(drain(queue) == std::vector<int>{0, 20, 1, 21, 2, 22});
}

TEST_CASE("fair queue: a new owner of the slot keeps its items when the old one is cancelled") {
  FairQueue<Item> queue(10);
  queue.push(item(4, 1, 1));
  queue.push(item(4, 2, 2));
  queue.push(item(4, 3, 1));
  queue.push(item(4, 4, 2));
  CHECK(cancel(queue, {4, 1}) == std::vector<int>{1, 3});
  CHECK(queue.size() == 2);
  queue.push(item(4, 5, 2));
  CHECK(drain(queue) == std::vector<int>{2, 4, 5});
}

TEST_CASE("fair queue: a connection that was cancelled can queue again") {
  FairQueue<Item> queue(10);
  queue.push(item(0, 1));
  queue.push(item(1, 10));
  cancel(queue, {0, 1});
  cancel(queue, {1, 1});
  CHECK(queue.empty());
  CHECK(queue.front() == nullptr);
  queue.push(item(1, 11));
  queue.push(item(0, 2));
  queue.push(item(0, 3));
  auto numbers = drain(queue);
  CHECK(numbers.back() == 3);
  std::sort(numbers.begin(), numbers.end());
  CHECK(numbers == std::vector<int>{2, 3, 11});
}

TEST_CASE("fair queue: takes out what was accepted by a time, and tells the oldest that is left") {
  FairQueue<Item> queue(10);  // accepted at the time that is its number
  for (const int number : {1, 4, 7}) queue.push(item(0, number));
  for (const int number : {2, 3}) queue.push(item(1, number));
  for (const int number : {5, 6}) queue.push(item(2, number));
  std::vector<int> taken;
  const auto take = [&](std::unique_ptr<Item> expired) { taken.push_back(expired->number); };
  CHECK(queue.take_accepted_by(0, take) == 1);
  CHECK(taken.empty());
  CHECK(queue.take_accepted_by(4, take) == 5);
  std::sort(taken.begin(), taken.end());
  CHECK(taken == std::vector<int>{1, 2, 3, 4});
  CHECK(queue.size() == 3);
  queue.push(item(1, 8));  // its connection, emptied above, is served again
  auto rest = drain(queue);
  std::sort(rest.begin(), rest.end());
  CHECK(rest == std::vector<int>{5, 6, 7, 8});
  CHECK(queue.take_accepted_by(100, take) == kNever);
}

TEST_CASE("fair queue: whoever waits is overtaken at most once by each other connection") {
  constexpr std::uint32_t kSlots = 6;
  std::mt19937 random(3);
  FairQueue<Item> queue(40);
  std::map<std::uint32_t, std::vector<int>> expected;                  // by slot, oldest first
  std::map<std::uint32_t, std::map<std::uint32_t, int>> overtaken_by;  // since its last turn
  int number = 0;
  for (int step = 0; step < 50'000; ++step) {
    const auto slot = static_cast<std::uint32_t>(random() % kSlots);
    auto& mine = expected[slot];
    const auto action = random() % 16;
    if (action < 8 && queue.free() > 0) {
      if (mine.empty()) overtaken_by[slot].clear();
      mine.push_back(++number);
      queue.push(item(slot, number));
    } else if (action == 8 && queue.free() > 0) {
      if (mine.empty()) overtaken_by[slot].clear();
      mine.insert(mine.begin(), ++number);
      queue.push_front(item(slot, number));
    } else if (action == 9) {
      REQUIRE(cancel(queue, {slot, 1}) == mine);
      mine.clear();
    } else if (const auto popped = queue.pop()) {
      const std::uint32_t served = popped->connection.slot;
      REQUIRE_FALSE(expected[served].empty());
      REQUIRE(popped->number == expected[served].front());
      expected[served].erase(expected[served].begin());
      overtaken_by[served].clear();
      for (auto& [other, numbers] : expected) {
        if (other != served && !numbers.empty()) REQUIRE(++overtaken_by[other][served] <= 1);
      }
    }
    std::size_t size = 0;
    for (const auto& [other, numbers] : expected) size += numbers.size();
    REQUIRE(queue.size() == size);
  }
}

}  // namespace
}  // namespace pool_server
