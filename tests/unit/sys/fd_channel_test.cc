#include "sys/fd_channel.h"

#include <doctest/doctest.h>

#include <vector>

#include "support/descriptors.h"
#include "sys/socket.h"

namespace pool_server {
namespace {

TEST_CASE("fd channel: descriptors come out message by message, even after the sender has gone") {
  FdChannel channel = FdChannel::make();
  CHECK_FALSE(receive_fds(channel.out.get()).has_value());
  const auto [one, other] = socket_pair();
  const std::uint64_t cookie = socket_cookie(one.get());
  const std::vector<int> first = {one.get(), other.get()};
  const std::vector<int> second(kMaxFdsPerMessage, one.get());
  CHECK(send_fds(channel.in.get(), first));
  CHECK(send_fds(channel.in.get(), second));
  channel.in.reset();

  auto received = receive_fds(channel.out.get());
  REQUIRE(received.has_value());
  REQUIRE(received->size() == 2);
  CHECK(socket_cookie((*received)[0].get()) == cookie);
  CHECK(socket_cookie((*received)[1].get()) == socket_cookie(other.get()));
  CHECK((*received)[0].get() != one.get());
  CHECK(closes_on_exec((*received)[0].get()));
  received = receive_fds(channel.out.get());
  REQUIRE(received.has_value());
  CHECK(received->size() == kMaxFdsPerMessage);
  CHECK_FALSE(receive_fds(channel.out.get()).has_value());
}

TEST_CASE("fd channel: says when nobody holds the other end") {
  FdChannel channel = FdChannel::make();
  channel.out.reset();
  const int fds[] = {STDOUT_FILENO};
  CHECK_FALSE(send_fds(channel.in.get(), fds));
}

TEST_CASE("fd channel: says when there is no room, and blocks nobody") {
  const FdChannel channel = FdChannel::make();
  const int fds[] = {STDOUT_FILENO};
  int sent = 0;
  while (send_fds(channel.in.get(), fds)) REQUIRE(++sent < 10'000'000);
  CHECK(sent > 10);
  REQUIRE(receive_fds(channel.out.get()).has_value());
  CHECK(send_fds(channel.in.get(), fds));
}

}  // namespace
}  // namespace pool_server
