#include "server/failed_starts.h"

#include <doctest/doctest.h>

#include <array>

namespace pool_server {
namespace {

// As pool-server(8) has it: at once, then after 2, 5, 10, 20 and every 30 seconds.
TEST_CASE("starts that fail are tried again less and less often") {
  constexpr std::array<unsigned, 8> kPauses = {0, 0, 2, 5, 10, 20, 30, 30};
  for (unsigned failed = 0; failed < kPauses.size(); ++failed) {
    CHECK(FailedStarts::pause_after(failed) == kPauses[failed]);
  }
  CHECK(FailedStarts::pause_after(1'000'000) == 30);
}

}  // namespace
}  // namespace pool_server
