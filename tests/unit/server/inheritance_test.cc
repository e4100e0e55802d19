#include "server/inheritance.h"

#include <doctest/doctest.h>

#include <utility>

#include "support/estate.h"

namespace pool_server {
namespace {

TEST_CASE_FIXTURE(Estate, "inheritance: a snapshot that cannot be used ends the connections") {
  CHECK(Inheritance(channel.out.get()).fault() == "it is missing");

  leave(make_memfd("test").get());
  leave(connection.first.get());
  Inheritance inheritance(channel.out.get());
  CHECK(inheritance.fault() == "it was not completed");
  CHECK_FALSE(inheritance.next().has_value());
  CHECK(inheritance.unknown() == 1);
  CHECK(client_sees_the_end());
}

TEST_CASE_FIXTURE(Estate, "inheritance: garbage is told by its fault") {
  leave(sealed_memfd("not a snapshot").get());
  CHECK(Inheritance(channel.out.get()).fault() == "it is not a snapshot");
}

TEST_CASE_FIXTURE(Estate, "inheritance: a size that cannot be true is not believed") {
  const UniqueFd vast = make_memfd("test");
  REQUIRE(::ftruncate(vast.get(), off_t{1} << 40) == 0);
  seal(vast.get());
  leave(vast.get());
  CHECK(Inheritance(channel.out.get()).fault() == "its size cannot be true");
}

TEST_CASE_FIXTURE(Estate, "inheritance: what is not told about is ended, and costs no other") {
  const Estate other;
  const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd path(::open("/", O_PATH | O_CLOEXEC));
  leave_snapshot({CarriedConnection(), state()});  // of cookie 0: no socket's
  leave(file.get());
  leave(other.connection.first.get());
  leave(path.get());
  leave(connection.first.get());
  Inheritance inheritance(channel.out.get());
  const auto found = inheritance.next();
  REQUIRE(found.has_value());
  CHECK((found->state == state()));
  CHECK(is_nonblocking(found->socket.get()));
  CHECK_FALSE(inheritance.next().has_value());
  CHECK(inheritance.unknown() == 3);
  CHECK(inheritance.missing() == 1);
  CHECK(other.client_sees_the_end());
  CHECK_FALSE(client_sees_the_end());
}

TEST_CASE_FIXTURE(Estate, "inheritance: what was never sent is not missed, what was sent is") {
  CarriedConnection unsent;
  unsent.cookie = UINT64_MAX;
  leave_snapshot({state(), unsent});
  leave(connection.first.get());
  for (const auto& row :
       {std::pair("sent many", 1U), std::pair("sent 1", 0U), std::pair("sent 3", 2U)}) {
    const char* note = row.first;  // no capture of a structured binding for clang 14
    const unsigned missing = row.second;
    CAPTURE(note);
    REQUIRE(send_note(channel.in.get(), note));
    Inheritance inheritance(channel.out.get());
    while (inheritance.next()) continue;
    CHECK(inheritance.missing() == missing);
  }
}

TEST_CASE_FIXTURE(Estate, "inheritance: what may be sound and cannot be had now fails the start") {
  leave_snapshot({state()});
  leave(connection.first.get());
  {
    const NoDescriptorsLeft limit;
    CHECK_THROWS(Inheritance(channel.out.get()));
  }
  Inheritance inheritance(channel.out.get());
  CHECK(inheritance.next().has_value());
}

}  // namespace
}  // namespace pool_server
