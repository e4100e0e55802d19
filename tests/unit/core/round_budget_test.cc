#include "core/round_budget.h"

#include <doctest/doctest.h>

namespace pool_server {
namespace {

TEST_CASE("round budget: a visit gets a turn, then what is left, then the least") {
  // Fails when one connection can take the whole budget, or a used-up one leaves nothing.
  RoundBudget budget;
  std::size_t taken = 0;
  while (!budget.used_up()) {
    const std::size_t lines = budget.lines_of_visit();
    CHECK(lines <= RoundBudget::kLinesOfTurn);
    budget.spend_lines(lines);
    taken += lines;
  }
  CHECK(taken >= RoundBudget::kLinesOfRound);
  CHECK(taken < RoundBudget::kLinesOfRound + RoundBudget::kFewestLines);
  CHECK(budget.lines_of_visit() == RoundBudget::kFewestLines);
  budget.spend_lines(RoundBudget::kFewestLines);
  CHECK(budget.lines_of_visit() == RoundBudget::kFewestLines);
  budget.refill();
  CHECK_FALSE(budget.used_up());
  CHECK(budget.lines_of_visit() == RoundBudget::kLinesOfTurn);
}

TEST_CASE("round budget: the same for bytes") {
  // Fails when bytes without lines are no work.
  RoundBudget budget;
  CHECK(budget.bytes_of_visit() == RoundBudget::kBytesOfRound);
  budget.spend_bytes(RoundBudget::kBytesOfRound - 1);
  CHECK_FALSE(budget.used_up());
  budget.spend_bytes(2);
  CHECK(budget.used_up());
  CHECK(budget.bytes_of_visit() == RoundBudget::kFewestBytes);
}

}  // namespace
}  // namespace pool_server
