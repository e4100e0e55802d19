#include "core/fair_share.h"

#include <doctest/doctest.h>

#include <array>

namespace pool_server {
namespace {

TEST_CASE("fair share: who is alone may fill the queue") {
  // Fails when room is kept for nobody.
  FairShare share;
  for (std::size_t held = 0; held < 100; ++held) CHECK(share.admits(7, held, 100 - held, 100, 0));
  CHECK_FALSE(share.admits(7, 100, 0, 100, 0));
}

TEST_CASE("fair share: whatever the greedy ones do, there is room for who holds less") {
  // Fails when greedy connections leave none, or more is let in than there is room for.
  for (const std::size_t capacity : {20u, 100u, 1024u}) {
    for (const std::size_t greedy : {2u, 4u, 9u}) {
      CAPTURE(capacity);
      CAPTURE(greedy);
      FairShare share;
      std::array<std::size_t, 9> held{};
      std::size_t total = 0;
      share.admits(0, 0, capacity, capacity, 0);
      for (std::size_t i = 1; i < greedy; ++i)
        share.admits(static_cast<std::uint32_t>(i), 0, capacity, capacity, 0);
      for (int turn = 0; turn < 5000; ++turn) {
        for (std::uint32_t slot = 0; slot < greedy; ++slot) {
          if (!share.admits(slot, held[slot], capacity - total, capacity, turn)) continue;
          ++held[slot];
          ++total;
        }
      }
      CHECK(total >= capacity / 2);
      CHECK(total < capacity);
      CHECK(share.admits(100, 0, capacity - total, capacity, 0));  // a newcomer
    }
  }
}

TEST_CASE("fair share: who has not asked for a while has no part") {
  // Fails when each connection that there ever was makes the parts smaller.
  FairShare share;
  for (std::uint32_t slot = 0; slot < 10; ++slot) share.admits(slot, 0, 100, 100, 0);
  CHECK(share.active() == 10);
  share.admits(3, 0, 100, 100, FairShare::kSpan);
  CHECK(share.active() == 10);
  share.admits(3, 0, 100, 100, 2 * FairShare::kSpan);
  CHECK(share.active() == 1);
  share.admits(4, 0, 100, 100, 2 * FairShare::kSpan + 1);
  share.admits(3, 0, 100, 100, 2 * FairShare::kSpan + 2);
  CHECK(share.active() == 2);
  share.admits(3, 0, 100, 100, 9 * FairShare::kSpan);
  CHECK(share.active() == 1);
}

TEST_CASE("fair share: while room is not short, nobody is refused") {
  // Fails when parts are enforced on a queue that is half empty.
  FairShare share;
  for (std::uint32_t slot = 0; slot < 50; ++slot) share.admits(slot, 0, 100, 100, 0);
  CHECK(share.admits(0, 49, 51, 100, 0));
  CHECK_FALSE(share.admits(0, 50, 50, 100, 0));
  CHECK(share.admits(1, 0, 50, 100, 0));
}

}  // namespace
}  // namespace pool_server
