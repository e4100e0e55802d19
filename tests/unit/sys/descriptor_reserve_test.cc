#include "sys/descriptor_reserve.h"

#include <doctest/doctest.h>

#include "support/descriptors.h"

namespace pool_server {
namespace {

TEST_CASE("descriptor reserve: what it lets go can be had when nothing else can") {
  DescriptorReserve reserve;
  reserve.hold(3);
  CHECK(reserve.size() == 3);
  {
    const NoDescriptorsLeft none;
    CHECK(::dup(STDIN_FILENO) == -1);
    reserve.hold(5);
    CHECK(reserve.size() == 3);
    reserve.release();
    const auto [reader, writer] = pipe_pair();
    CHECK(closes_on_exec(reader.get()));
  }
  reserve.hold(5);
  CHECK(reserve.size() == 5);
}

}  // namespace
}  // namespace pool_server
