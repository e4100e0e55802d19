#include "sys/epoll.h"

#include <doctest/doctest.h>

#include <array>
#include <system_error>

#include "support/descriptors.h"

namespace pool_server {
namespace {

TEST_CASE("epoll: reports what is ready, with the pointer it was given, until it is removed") {
  Epoll epoll;
  auto [ours, theirs] = socket_pair();
  int tag = 0;
  // Its members are packed: the extra parentheses keep doctest from binding to them.
  std::array<epoll_event, 4> events;
  epoll.add(ours.get(), EPOLLIN, &tag);
  CHECK(epoll.wait(events, 0).empty());

  REQUIRE(::send(theirs.get(), "x", 1, 0) == 1);
  for (int round = 0; round < 2; ++round) {  // level-triggered: again and again
    const auto fired = epoll.wait(events, -1);
    REQUIRE(fired.size() == 1);
    const epoll_event event = fired.front();
    CHECK((event.data.ptr == &tag));
    CHECK((event.events == EPOLLIN));
  }
  epoll.modify(ours.get(), EPOLLOUT, &tag);
  REQUIRE(epoll.wait(events, -1).size() == 1);
  CHECK((events[0].events == EPOLLOUT));
  epoll.remove(ours.get());
  CHECK(epoll.wait(events, 0).empty());
}

TEST_CASE("epoll: misuse throws, but where somebody goes away") {
  Epoll epoll;
  auto [ours, theirs] = socket_pair();
  epoll.add(ours.get(), EPOLLIN, nullptr);
  CHECK_THROWS_AS(epoll.add(ours.get(), EPOLLIN, nullptr), std::system_error);
  CHECK_THROWS_AS(epoll.modify(theirs.get(), EPOLLIN, nullptr), std::system_error);
  epoll.remove(theirs.get());
}

}  // namespace
}  // namespace pool_server
