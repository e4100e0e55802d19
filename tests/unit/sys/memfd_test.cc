#include "sys/memfd.h"

#include <doctest/doctest.h>

#include <string>

#include "support/descriptors.h"

namespace pool_server {
namespace {

TEST_CASE("memfd: what was written and sealed is read, and cannot change any more") {
  const UniqueFd fd = make_memfd("test");
  CHECK(closes_on_exec(fd.get()));
  const std::string content = std::string("some\0text", 9) + std::string(1 << 20, 'x');
  CHECK_FALSE(read_sealed(fd.get(), SIZE_MAX).has_value());
  write_and_seal(fd.get(), content);
  CHECK((read_sealed(fd.get(), content.size()) == content));
  CHECK((read_sealed(fd.get(), content.size()) == content));  // wherever the file offset is
  CHECK(::write(fd.get(), "x", 1) < 0);
  CHECK(::ftruncate(fd.get(), 0) < 0);
}

TEST_CASE("memfd: an empty one") {
  const UniqueFd fd = make_memfd("test");
  write_and_seal(fd.get(), "");
  CHECK((read_sealed(fd.get(), 0) == std::string()));
}

TEST_CASE("memfd: what cannot be relied on is not read") {
  const UniqueFd fd = make_memfd("test");
  REQUIRE(::write(fd.get(), "x", 1) == 1);
  CHECK_FALSE(read_sealed(fd.get(), 100).has_value());  // may change still
  write_and_seal(fd.get(), "y");
  CHECK_FALSE(read_sealed(fd.get(), 1).has_value());  // too large
  CHECK(read_sealed(fd.get(), 2).has_value());
  const auto [reader, writer] = pipe_pair();
  CHECK_FALSE(read_sealed(reader.get(), 100).has_value());
  CHECK_FALSE(read_sealed(-1, 100).has_value());
}

}  // namespace
}  // namespace pool_server
