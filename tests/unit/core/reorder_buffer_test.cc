#include "core/reorder_buffer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

namespace pool_server {
namespace {

struct Result {
  std::uint64_t sequence = 0;
  Result* next = nullptr;
  std::uint64_t count = 1;

  std::uint64_t end() const { return sequence + count; }
};

std::unique_ptr<Result> result_of(std::uint64_t sequence) {
  return std::make_unique<Result>(Result{sequence, nullptr, 1});
}

// Files the results in the order given; each has to come out as soon as all before it are in.
void check_order(const std::vector<std::uint64_t>& arrival) {
  ReorderBuffer<Result> buffer;
  for (std::size_t i = 0; i < arrival.size(); ++i) REQUIRE(buffer.reserve() == i);
  std::vector<bool> arrived(arrival.size());
  std::uint64_t next = 0;
  for (const std::uint64_t sequence : arrival) {
    buffer.put(result_of(sequence));
    arrived[sequence] = true;
    while (const auto result = buffer.take_next()) {
      REQUIRE(result->sequence == next);
      REQUIRE(result->next == nullptr);
      ++next;
    }
    const auto gap = std::find(arrived.begin(), arrived.end(), false);
    REQUIRE(next == static_cast<std::uint64_t>(gap - arrived.begin()));
    REQUIRE(buffer.outstanding() == arrival.size() - next);
  }
}

TEST_CASE("reorder buffer: every order of arrival of six results") {
  std::vector<std::uint64_t> arrival(6);
  std::iota(arrival.begin(), arrival.end(), 0);
  do {
    check_order(arrival);
  } while (std::next_permutation(arrival.begin(), arrival.end()));
}

TEST_CASE("reorder buffer: random orders of arrival of many results") {
  std::mt19937 random(2);
  std::vector<std::uint64_t> arrival(300);
  std::iota(arrival.begin(), arrival.end(), 0);
  for (int round = 0; round < 20; ++round) {
    std::shuffle(arrival.begin(), arrival.end(), random);
    check_order(arrival);
  }
}

TEST_CASE("reorder buffer: reservations and results may alternate") {
  ReorderBuffer<Result> buffer;
  CHECK(buffer.take_next() == nullptr);
  for (std::uint64_t i = 0; i < 100; ++i) {
    CHECK(buffer.reserve() == 2 * i);
    CHECK(buffer.reserve() == 2 * i + 1);
    buffer.put(result_of(2 * i + 1));
    CHECK(buffer.take_next() == nullptr);
    buffer.put(result_of(2 * i));
    CHECK(buffer.take_next()->sequence == 2 * i);
    CHECK(buffer.take_next()->sequence == 2 * i + 1);
    CHECK(buffer.outstanding() == 0);
  }
}

TEST_CASE("reorder buffer: results of several requests fill as many places") {
  ReorderBuffer<Result> buffer;
  for (int i = 0; i < 10; ++i) buffer.reserve();
  const auto put = [&buffer](std::uint64_t sequence, std::uint64_t count) {
    auto made = result_of(sequence);
    made->count = count;
    buffer.put(std::move(made));
  };
  put(7, 3);
  put(3, 1);
  put(4, 3);
  CHECK(buffer.next() == nullptr);
  put(0, 3);
  std::vector<std::uint64_t> taken;
  while (const auto result = buffer.take_next()) {
    taken.push_back(result->sequence);
    CHECK(buffer.next_to_release() == result->end());
  }
  CHECK(taken == std::vector<std::uint64_t>{0, 3, 4, 7});
  CHECK(buffer.outstanding() == 0);
}

TEST_CASE("reorder buffer: gives up what it holds, in order") {
  ReorderBuffer<Result> buffer;
  for (int i = 0; i < 5; ++i) buffer.reserve();
  for (const std::uint64_t sequence : {4U, 0U, 2U}) buffer.put(result_of(sequence));
  CHECK(buffer.take_next() != nullptr);
  CHECK(buffer.next_to_release() == 1);
  std::vector<std::uint64_t> held;
  while (const auto result = buffer.give_up_first()) held.push_back(result->sequence);
  CHECK(held == std::vector<std::uint64_t>{2, 4});
}

TEST_CASE("reorder buffer: what it still holds goes with it") {
  ReorderBuffer<Result> buffer;
  for (int i = 0; i < 4; ++i) buffer.reserve();
  for (const std::uint64_t sequence : {3U, 1U, 2U}) buffer.put(result_of(sequence));
  CHECK(buffer.outstanding() == 4);  // the leak checker sees the rest
}

}  // namespace
}  // namespace pool_server
