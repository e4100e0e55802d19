#include "sys/socket.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <csignal>
#include <fstream>
#include <string>

#include "support/descriptors.h"
#include "support/waiting.h"
#include "sys/thread.h"

namespace pool_server {
namespace {

TEST_CASE("socket: receiving tells bytes, nothing yet, and the end") {
  auto [ours, theirs] = socket_pair();
  std::array<char, 8> buffer{};
  CHECK(receive(ours.get(), buffer).status == IoStatus::kAgain);
  REQUIRE(::send(theirs.get(), "abc", 3, 0) == 3);
  const IoResult result = receive(ours.get(), buffer);
  CHECK(result.status == IoStatus::kOk);
  CHECK(std::string(buffer.data(), result.bytes) == "abc");
  shut_down_sending(theirs.get());
  CHECK(receive(ours.get(), buffer).status == IoStatus::kEof);
  CHECK(send(ours.get(), "still").status == IoStatus::kOk);  // one direction only
}

TEST_CASE("socket: sending tells how far it got, and that there is no room") {
  auto [ours, theirs] = socket_pair();
  const std::string much(10 << 20, 'x');
  const IoResult part = send(ours.get(), much);
  CHECK(part.status == IoStatus::kOk);
  CHECK(part.bytes > 0);
  CHECK(part.bytes < much.size());
  CHECK(send(ours.get(), much).status == IoStatus::kAgain);
}

TEST_CASE("socket: a peer that has gone is a value, not a signal") {
  auto [ours, theirs] = socket_pair();
  theirs.reset();
  CHECK(send(ours.get(), "x").status == IoStatus::kError);
}

TEST_CASE("socket: a reset is an error to the receiver") {
  const ListeningSocket listener = listen_on_any_port();
  UniqueFd client = connect_to(listener.fd.get());
  const AcceptResult accepted = accept_connection(listener.fd.get());
  REQUIRE(accepted.status == AcceptStatus::kOk);
  const linger reset{1, 0};
  ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  client.reset();
  std::array<char, 8> buffer{};
  IoResult result;
  CHECK(eventually([&] {
    result = receive(accepted.socket.get(), buffer);
    return result.status != IoStatus::kAgain;
  }));
  CHECK(result.status == IoStatus::kError);
}

std::atomic<int> signals_seen = 0;

TEST_CASE("socket: a receive that a signal interrupts goes on") {
  struct sigaction before {};
  struct sigaction interrupting {};
  interrupting.sa_handler = [](int) { ++signals_seen; };
  sigaction(SIGUSR1, &interrupting, &before);  // without SA_RESTART
  auto [ours, theirs] = socket_pair(/*flags=*/0);
  std::atomic<pid_t> tid = 0;
  std::atomic<pthread_t> handle{};
  IoResult result{IoStatus::kError, 0};
  {
    Thread reader("reader", [&, fd = ours.get()] {
      handle = pthread_self();
      tid = ::gettid();
      std::array<char, 8> buffer{};
      result = receive(fd, buffer);
    });
    CHECK(eventually([&] { return tid != 0 && is_asleep(tid); }));
    const int seen = signals_seen;
    pthread_kill(handle, SIGUSR1);
    CHECK(eventually([&] { return signals_seen > seen; }));
    REQUIRE(::send(theirs.get(), "x", 1, 0) == 1);
  }
  CHECK(result.status == IoStatus::kOk);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("socket: accepted connections are non-blocking and close on exec") {
  const ListeningSocket listener = listen_on_any_port();
  CHECK(accept_connection(listener.fd.get()).status == AcceptStatus::kAgain);
  const UniqueFd client = connect_to(listener.fd.get());
  const AcceptResult accepted = accept_connection(listener.fd.get());
  REQUIRE(accepted.status == AcceptStatus::kOk);
  CHECK(is_nonblocking(accepted.socket.get()));
  CHECK(closes_on_exec(accepted.socket.get()));
}

TEST_CASE("socket: out of descriptors, the newcomer stays in the backlog") {
  const ListeningSocket listener = listen_on_any_port();
  const UniqueFd client = connect_to(listener.fd.get());
  {
    const NoDescriptorsLeft none;
    const AcceptResult refused = accept_connection(listener.fd.get());
    CHECK(refused.status == AcceptStatus::kNoResources);
    CHECK(refused.error == EMFILE);
    CHECK_FALSE(refused.socket.valid());
  }
  CHECK(accept_connection(listener.fd.get()).status == AcceptStatus::kOk);
}

TEST_CASE("socket: options") {
  const auto [reader, writer] = pipe_pair();
  CHECK_FALSE(is_nonblocking(reader.get()));
  set_nonblocking(reader.get());
  CHECK(is_nonblocking(reader.get()));
  ::fcntl(reader.get(), F_SETFD, 0);
  set_close_on_exec(reader.get());
  CHECK(closes_on_exec(reader.get()));

  const ListeningSocket listener = listen_on_any_port();
  const UniqueFd client = connect_to(listener.fd.get());
  set_no_delay(client.get());
  int on = 0;
  socklen_t length = sizeof on;
  ::getsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, &length);
  CHECK(on != 0);
  set_no_delay(reader.get());  // not a TCP socket: no effect
}

TEST_CASE("socket: the descriptor limit is raised as far as it goes") {
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit lowered = before;
  lowered.rlim_cur = 64;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &lowered) == 0);
  CHECK(raise_descriptor_limit() == before.rlim_max);
  rlimit after{};
  ::getrlimit(RLIMIT_NOFILE, &after);
  CHECK(after.rlim_cur == before.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_CASE(
    "descriptors: the kernel's table is made large enough at once, and nothing is left open") {
  const auto table_size = [] {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      std::size_t size = 0;
      if (word == "FDSize:" && status >> size) return size;
    }
    return std::size_t{0};
  };
  reserve_descriptors(900);
  CHECK(table_size() >= 900);
  CHECK_FALSE(is_open(899));
}

}  // namespace
}  // namespace pool_server
