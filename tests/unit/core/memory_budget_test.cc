#include "core/memory_budget.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

namespace pool_server {
namespace {

// Fails if one client can take what others need, or if the limit can be passed by asking.
TEST_CASE(
    "memory budget: half is for the first, a quarter for new ones, each has a share of the rest") {
  MemoryBudget budget(1000);
  budget.set_limit(1000, 5);
  std::array<MemoryBudget::Account, 5> accounts;
  for (auto& account : accounts) budget.open(account);
  auto& greedy = accounts[0];
  CHECK(budget.room_to_admit(greedy) >= 500);
  budget.set(greedy, 0, 400);
  CHECK(budget.room_to_admit(greedy) >= 100);
  CHECK(budget.room_to_admit(greedy) < 101);
  budget.set(greedy, 0, 500);
  CHECK(budget.room_to_admit(greedy) < 1);
  CHECK(budget.room_to_admit(accounts[1]) >= 250);
  CHECK(budget.room_to_admit(accounts[1]) < 251);
  budget.set(accounts[1], 0, 250);
  CHECK(budget.room_to_admit(accounts[1]) < 1);
  for (std::size_t i = 2; i < accounts.size(); ++i) {
    CHECK(budget.room_to_admit(accounts[i]) >= 50);  // a fifth of the last quarter
    CHECK(budget.room_to_admit(accounts[i]) < 51);
    budget.set(accounts[i], 0, 50);
    CHECK(budget.room_to_admit(accounts[i]) < 1);
  }
  CHECK(budget.held() == 900);
  budget.set(greedy, 0, 400);  // it has read something: the others are not stopped by it
  budget.set(accounts[2], 0, 0);
  CHECK(budget.room_to_admit(accounts[2]) >= 50);
  for (auto& account : accounts) budget.close(account);
  CHECK(budget.held() == 0);
}

// Fails if a client's own line, which cannot be answered before it is admitted, counts against it.
TEST_CASE("memory budget: a request that waits here is no worse off than one that just came") {
  MemoryBudget budget(1000);
  budget.set_limit(1000, 5);
  MemoryBudget::Account greedy;
  MemoryBudget::Account waiting;
  budget.open(greedy);
  budget.open(waiting);
  budget.set(greedy, 0, 600);
  budget.set(waiting, 6, 0);
  CHECK(budget.room_to_admit(waiting) >= 144);
  budget.close(waiting);
  budget.close(greedy);
}

// Fails if those who came early take more while there are few than is left for the later ones.
TEST_CASE("memory budget: who comes late has its share, too") {
  MemoryBudget budget(100'000);
  budget.set_limit(100'000, 100);
  std::array<MemoryBudget::Account, 100> accounts;
  for (auto& account : accounts) {
    budget.open(account);
    CHECK(budget.room_to_admit(account) >= 250);
    while (const std::size_t room = budget.room_to_admit(account)) {
      budget.set(account, 0, account.bytes + std::min<std::size_t>(room, 1000));
    }
    REQUIRE(budget.held() <= budget.limit());
  }
  for (auto& account : accounts) budget.close(account);
}

// Fails if a request that is larger than all there is waits for ever, or gets in beside others.
TEST_CASE("memory budget: what does not fit at all is let in alone") {
  MemoryBudget budget(1000);
  MemoryBudget::Account large;
  MemoryBudget::Account small;
  budget.open(large);
  budget.open(small);
  CHECK(budget.room_to_admit(large) >= 5000);
  budget.set(small, 0, 1);
  CHECK(budget.room_to_admit(large) < 5000);
  budget.set(small, 0, 0);
  budget.set(large, 0, 5000);
  CHECK(budget.room_to_admit(small) <= 125);  // its share
  budget.close(large);
  CHECK(budget.room_to_admit(small) >= 1);
  budget.close(small);
}

// Fails if random clients that ask before they take come to more than the limit.
TEST_CASE("memory budget: who asks never passes the limit") {
  MemoryBudget budget(10'000);
  std::array<MemoryBudget::Account, 16> accounts;
  for (auto& account : accounts) budget.open(account);
  unsigned random = 1;
  const auto next = [&random](unsigned below) {
    random = random * 1'103'515'245 + 12'345;
    return random / 65'536 % below;
  };
  for (int step = 0; step < 100'000; ++step) {
    auto& account = accounts[next(16)];
    const std::size_t by = 1 + next(3000);
    if (next(3) == 0) {
      budget.set(account, 0, account.bytes / 2);
    } else if (by <= budget.room_to_admit(account)) {
      budget.set(account, 0, account.bytes + by);
    }
    REQUIRE(budget.held() <= budget.limit());
  }
  for (auto& account : accounts) budget.close(account);
}

// Fails if input that is only waiting to be admitted can keep itself from being admitted.
TEST_CASE("memory budget: when input has taken it all, one request is admitted at a time") {
  MemoryBudget budget(1000);
  MemoryBudget::Account first;
  MemoryBudget::Account second;
  budget.open(first);
  budget.open(second);
  budget.set(first, 500, 0);
  budget.set(second, 500, 0);
  CHECK(budget.room_to_read(second) < 1);
  CHECK(budget.room_to_read(first) >= 5000);  // who has begun first completes its line
  CHECK(budget.room_to_admit(first) >= 5000);
  budget.set(first, 0, 2000);
  CHECK(budget.room_to_admit(second) < 1);
  budget.set(first, 0, 0);
  CHECK(budget.room_to_admit(second) >= 5000);
  budget.set(first, 0, 1);
  budget.close(first);
  CHECK(budget.room_to_admit(second) >= 5000);
  budget.close(second);
}

}  // namespace
}  // namespace pool_server
