#include "sys/fd_channel.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/descriptors.h"
#include "sys/socket.h"

namespace pool_server {
namespace {

TEST_CASE("fd channel: can be read again and again, even after the sender has gone") {
  FdChannel channel = FdChannel::make();
  CHECK_FALSE(FdReader(channel.out.get()).next().has_value());
  const auto [one, other] = socket_pair();
  const std::uint64_t cookie = socket_cookie(one.get());
  const std::vector<int> first = {one.get(), other.get()};
  const std::vector<int> second(kMaxFdsPerMessage, one.get());
  CHECK(send_fds(channel.in.get(), first));
  CHECK(send_fds(channel.in.get(), second));
  CHECK(send_note(channel.in.get(), "a note"));
  channel.in.reset();

  for (int round = 0; round < 2; ++round) {
    FdReader reader(channel.out.get());
    auto received = reader.next();
    REQUIRE(received.has_value());
    REQUIRE(received->fds.size() == 2);
    CHECK_FALSE(received->incomplete);
    CHECK(socket_cookie(received->fds[0].get()) == cookie);
    CHECK(socket_cookie(received->fds[1].get()) == socket_cookie(other.get()));
    CHECK(received->fds[0].get() != one.get());
    CHECK(closes_on_exec(received->fds[0].get()));
    received = reader.next();
    REQUIRE(received.has_value());
    CHECK(received->fds.size() == kMaxFdsPerMessage);
    received = reader.next();
    REQUIRE(received.has_value());
    CHECK(received->fds.empty());
    CHECK(received->note == "a note");
    CHECK_FALSE(reader.next().has_value());
    if (round == 0) CHECK(FdReader(channel.out.get()).next().has_value());  // not read to its end
  }
  empty_channel(channel.out.get());
  CHECK_FALSE(FdReader(channel.out.get()).next().has_value());
}

TEST_CASE("fd channel: what is emptied holds no descriptor any more") {
  FdChannel channel = FdChannel::make();
  auto [one, other] = socket_pair();
  const int fds[] = {one.get()};
  CHECK(send_fds(channel.in.get(), fds));
  one.reset();
  char byte = 0;
  CHECK(::recv(other.get(), &byte, 1, MSG_DONTWAIT) < 0);
  empty_channel(channel.out.get());
  CHECK(::recv(other.get(), &byte, 1, MSG_DONTWAIT) == 0);
}

TEST_CASE("fd channel: a message longer than ours, and what is no channel, end the reading") {
  const FdChannel channel = FdChannel::make();
  const std::string long_one(10 * kMaxNote, 'x');
  REQUIRE(::send(channel.in.get(), long_one.data(), long_one.size(), 0) > 0);
  CHECK(send_note(channel.in.get(), "next"));
  FdReader reader(channel.out.get());
  REQUIRE(reader.next().has_value());
  const auto next = reader.next();
  REQUIRE(next.has_value());
  CHECK(next->note == "next");
  CHECK_FALSE(reader.next().has_value());
  const auto [in, out] = pipe_pair();
  CHECK_FALSE(FdReader(in.get()).next().has_value());
  CHECK_FALSE(FdReader(-1).next().has_value());
}

TEST_CASE("fd channel: tells when this process may not open as many descriptors") {
  const FdChannel channel = FdChannel::make();
  const int fds[] = {STDOUT_FILENO};
  CHECK(send_fds(channel.in.get(), fds));
  const NoDescriptorsLeft limit;
  const auto received = FdReader(channel.out.get()).next();
  REQUIRE(received.has_value());
  CHECK(received->incomplete);
  CHECK(received->fds.empty());
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
  empty_channel(channel.out.get());
  CHECK(send_fds(channel.in.get(), fds));
}

}  // namespace
}  // namespace pool_server
