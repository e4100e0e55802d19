#include "sys/unique_fd.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "support/descriptors.h"

namespace pool_server {
namespace {

UniqueFd any_fd() {
  return checked_fd(::dup(STDOUT_FILENO), "dup");
}

TEST_CASE("unique fd: closes when it goes, is reset or is assigned to") {
  int first = -1;
  int second = -1;
  {
    UniqueFd fd = any_fd();
    first = fd.get();
    UniqueFd other = any_fd();
    second = other.get();
    CHECK(is_open(first));
    CHECK(is_open(second));
    fd = std::move(other);
    CHECK_FALSE(is_open(first));
    CHECK(fd.get() == second);
    CHECK_FALSE(other.valid());  // NOLINT(bugprone-use-after-move): what a move leaves is promised
  }
  CHECK_FALSE(is_open(second));
  UniqueFd fd = any_fd();
  first = fd.get();
  fd.reset();
  CHECK_FALSE(is_open(first));
  CHECK_FALSE(fd.valid());
}

TEST_CASE("unique fd: what was moved or released is not closed") {
  UniqueFd fd = any_fd();
  const int number = fd.get();
  UniqueFd moved(std::move(fd));
  CHECK(is_open(number));
  UniqueFd& self = moved;
  moved = std::move(self);
  CHECK(is_open(number));
  CHECK(moved.release() == number);
  moved.reset();
  CHECK(is_open(number));
  ::close(number);
}

TEST_CASE("unique fd: closes only once, whoever has the number next") {
  UniqueFd fd = any_fd();
  const int number = fd.get();
  fd.reset();
  const UniqueFd next = any_fd();
  REQUIRE(next.get() == number);
  fd.reset();
  CHECK(is_open(number));
}

TEST_CASE("unique fd: a call that failed throws its errno") {
  errno = EMFILE;
  try {
    checked_fd(-1, "open something");
    FAIL("did not throw");
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::too_many_files_open);
    CHECK(std::string(error.what()).find("open something") != std::string::npos);
  }
}

}  // namespace
}  // namespace pool_server
