#include "core/memory_budget.h"

#include <doctest/doctest.h>

#include <array>

namespace pool_server {
namespace {

// Fails if one client can take what others need, if the limit can be passed by asking, or if a
// client that holds nothing is turned away though there is room for it.
TEST_CASE("memory budget: half is for the first, the other half is shared") {
  MemoryBudget budget(1000);
  std::array<MemoryBudget::Account, 5> accounts;
  for (auto& account : accounts) budget.open(account);
  auto& greedy = accounts[0];
  CHECK(budget.room_for(greedy) >= 500);
  budget.set(greedy, 400);
  CHECK(budget.room_for(greedy) >= 100);
  CHECK(budget.room_for(greedy) < 101);
  budget.set(greedy, 500);
  CHECK(budget.room_for(greedy) < 1);
  for (std::size_t i = 1; i < accounts.size(); ++i) {
    CHECK(budget.room_for(accounts[i]) >= 100);  // a fifth of the other half
    CHECK(budget.room_for(accounts[i]) < 101);
    budget.set(accounts[i], 100);
    CHECK(budget.room_for(accounts[i]) < 1);
  }
  CHECK(budget.held() == 900);
  budget.set(greedy, 499);  // it has read something: the others are not stopped by it
  budget.set(accounts[1], 0);
  CHECK(budget.room_for(accounts[1]) >= 100);
  CHECK(budget.room_for(greedy) < 1);
  for (auto& account : accounts) budget.close(account);
  CHECK(budget.held() == 0);
}

// Fails if a request that is larger than all there is waits for ever, or gets in beside others.
TEST_CASE("memory budget: what does not fit at all is let in alone") {
  MemoryBudget budget(1000);
  MemoryBudget::Account large;
  MemoryBudget::Account small;
  budget.open(large);
  budget.open(small);
  CHECK(budget.room_for(large) >= 5000);
  budget.set(small, 1);
  CHECK(budget.room_for(large) < 5000);
  budget.set(small, 0);
  budget.set(large, 5000);
  CHECK(budget.room_for(small) < 1);
  budget.close(large);
  CHECK(budget.room_for(small) >= 1);
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
      budget.set(account, account.bytes / 2);
    } else if (by <= budget.room_for(account)) {
      budget.set(account, account.bytes + by);
    }
    REQUIRE(budget.held() <= budget.limit());
  }
  for (auto& account : accounts) budget.close(account);
}

}  // namespace
}  // namespace pool_server
