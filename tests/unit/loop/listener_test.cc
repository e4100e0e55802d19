#include "loop/listener.h"

#include <doctest/doctest.h>

#include <vector>

#include "support/descriptors.h"
#include "support/loop_driver.h"

namespace pool_server {
namespace {

struct Door final : ListenerHost {
  std::vector<UniqueFd> accepted;
  std::vector<int> failures;
  std::vector<int> deaths;
  void on_accepted(Listener&, UniqueFd socket) override { accepted.push_back(std::move(socket)); }
  void on_no_resources(int error) override { failures.push_back(error); }
  void on_accept_failed(Listener&, int error) override { failures.push_back(error); }
  void on_listener_dead(Listener&, int error) override { deaths.push_back(error); }
};

struct ListenerFixture {
  LoopDriver driver;
  Door door;
  ListeningSocket socket = listen_on_any_port();
  int fd = socket.fd.get();
  Listener listener{std::move(socket), driver.loop, door};

  bool accepted(std::size_t count) {
    return driver.run_until([&] { return door.accepted.size() >= count; });
  }
};

TEST_CASE_FIXTURE(ListenerFixture, "listener: lets everybody in, a crowd over several rounds") {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(connect_to(fd));
  CHECK(accepted(100));
  CHECK(door.failures.empty());
}

TEST_CASE_FIXTURE(ListenerFixture,
                  "listener: a crowd does not keep the clients that are here waiting") {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(connect_to(fd));
  listener.on_events(EPOLLIN);
  CHECK(door.accepted.size() > 0);
  CHECK(door.accepted.size() < 100);
}

TEST_CASE_FIXTURE(ListenerFixture, "listener: paused, newcomers wait and cause no events") {
  listener.pause();
  listener.pause();
  const UniqueFd client = connect_to(fd);
  CHECK(driver.is_quiet());
  CHECK(door.accepted.empty());
  listener.resume();
  listener.resume();
  CHECK(accepted(1));
}

TEST_CASE_FIXTURE(ListenerFixture, "listener: out of descriptors is told, once a round at most") {
  const UniqueFd client = connect_to(fd);
  {
    const NoDescriptorsLeft none;
    CHECK(driver.run_until([&] { return !door.failures.empty(); }));
  }
  CHECK(door.failures == std::vector<int>{EMFILE});
  CHECK(accepted(1));
}

TEST_CASE_FIXTURE(ListenerFixture, "listener: one that was shut down is told once, paused or not") {
  // Fails when EPOLLHUP, which cannot be masked, keeps the loop busy.
  SUBCASE("while it listens") {}
  SUBCASE("while it is paused") {
    listener.pause();
  }
  ::shutdown(fd, SHUT_RDWR);
  driver.run_rounds(3);
  CHECK(driver.is_quiet());
  listener.resume();
  CHECK(driver.run_until([&] { return !door.deaths.empty(); }));
  listener.resume();
  CHECK(driver.is_quiet());
  CHECK(door.deaths == std::vector<int>{EINVAL});
  CHECK(door.failures.empty());
}

TEST_CASE("listener: takes the file of a unix socket away with it") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("socket");
  LoopDriver driver;
  Door door;
  auto sockets = listen_on(parse_listen_address(path));
  {
    const Listener listener(std::move(sockets.front()), driver.loop, door);
    CHECK(listener.name() == path);
    CHECK(::access(path.c_str(), F_OK) == 0);
  }
  CHECK(::access(path.c_str(), F_OK) != 0);
}

}  // namespace
}  // namespace pool_server
