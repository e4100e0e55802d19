#include "sys/memfd.h"

#include <doctest/doctest.h>

#include <string>

#include "support/descriptors.h"

namespace pool_server {
namespace {

std::string content_of(int fd) {
  std::string content(file_size(fd), '\0');
  read_at(fd, 0, content);
  return content;
}

TEST_CASE("memfd: what was written and sealed is read, and cannot change any more") {
  const UniqueFd fd = make_memfd("test");
  CHECK(closes_on_exec(fd.get()));
  const std::string content = std::string("some\0text", 9) + std::string(1 << 20, 'x');
  REQUIRE(write_at(fd.get(), 9, std::string_view(content).substr(9)));
  REQUIRE(write_at(fd.get(), 0, std::string_view(content).substr(0, 9)));
  std::string_view fault;
  CHECK_FALSE(sealed_size(fd.get(), fault).has_value());
  seal(fd.get());
  CHECK(sealed_size(fd.get(), fault) == content.size());
  CHECK((content_of(fd.get()) == content));
  CHECK((content_of(fd.get()) == content));  // wherever the file offset is
  CHECK_FALSE(write_at(fd.get(), 0, "x"));
  CHECK(::ftruncate(fd.get(), 0) < 0);
  std::string beyond(2, ' ');
  CHECK_THROWS(read_at(fd.get(), content.size() - 1, beyond));
}

TEST_CASE("memfd: an empty one") {
  const UniqueFd fd = make_memfd("test");
  seal(fd.get());
  std::string_view fault;
  CHECK(sealed_size(fd.get(), fault) == 0);
}

TEST_CASE("memfd: what cannot be relied on is not read") {
  std::string_view fault;
  const UniqueFd vast = make_memfd("test");
  REQUIRE(::ftruncate(vast.get(), off_t{1} << 36) == 0);
  seal(vast.get());
  CHECK_FALSE(sealed_size(vast.get(), fault).has_value());  // has a size and no content
  CHECK(fault == "its size cannot be true");
  const auto [reader, writer] = pipe_pair();
  CHECK_FALSE(sealed_size(reader.get(), fault).has_value());
  CHECK(fault == "it was not completed");
  CHECK_FALSE(sealed_size(-1, fault).has_value());
  std::string byte(1, ' ');
  CHECK_THROWS(read_at(reader.get(), 0, byte));
}

}  // namespace
}  // namespace pool_server
