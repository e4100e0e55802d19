#include "net/connection_table.h"

#include <doctest/doctest.h>

#include <set>

#include "support/fake_host.h"

namespace pool_server {
namespace {

TEST_CASE("connection table: a result for a client that has gone never reaches the next one") {
  LoopDriver driver;
  FakeHost host(driver);
  std::set<std::pair<std::uint32_t, std::uint32_t>> ids;
  ConnectionId previous;
  for (int round = 0; round < 100; ++round) {
    auto [id, client] = host.connect();
    CHECK(host.table.open() == 1);
    CHECK(ids.insert({id.slot, id.generation}).second);
    REQUIRE(host.table.find(id) != nullptr);
    CHECK(host.table.find(id)->id() == id);
    if (round > 0) {
      CHECK(id.slot == previous.slot);  // reused, and so was its descriptor
      CHECK(host.table.find(previous) == nullptr);
    }
    client.send("ask\n");
    CHECK(driver.run_until([&] { return host.requests.size() == 1; }));
    host.table.find(id)->close(/*broken=*/true);
    CHECK(host.table.find(id) == nullptr);  // deaf, though the object is there still
    CHECK(host.table.open() == 0);
    host.table.reap();

    auto [next_id, next] = host.connect();
    host.answer_all();  // for the one that has gone
    driver.run_rounds(2);
    next.listen();
    CHECK(next.heard().empty());
    previous = next_id;
    ids.insert({next_id.slot, next_id.generation});
    host.table.find(next_id)->close(/*broken=*/false);
    host.table.reap();
  }
}

TEST_CASE("connection table: a slot is not reused before the end of the round") {
  LoopDriver driver;
  FakeHost host(driver);
  const auto first = host.connect();
  host.table.find(first.first)->close(/*broken=*/false);
  const auto second = host.connect();
  CHECK(second.first.slot != first.first.slot);
  host.table.reap();
  const auto third = host.connect();
  CHECK(third.first.slot == first.first.slot);
  CHECK(third.first.generation != first.first.generation);
}

TEST_CASE("connection table: what cannot be added stays with the caller, and changes nothing") {
  LoopDriver driver;
  FakeHost host(driver);
  host.patience.idle = 1;                                            // so that it has a timer
  UniqueFd regular(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));  // not for epoll
  const int fd = regular.get();
  CHECK_THROWS(host.table.add(std::move(regular), host));
  CHECK(regular.get() == fd);  // NOLINT(bugprone-use-after-move): that is the promise
  CHECK(is_open(fd));
  CHECK(host.table.open() == 0);
  CHECK(driver.timers.next_deadline() == kNever);
  host.patience.idle = 0;
  CHECK(host.connect().first.slot == 0);
}

TEST_CASE("connection table: visits the open ones, and finds no strangers") {
  LoopDriver driver;
  FakeHost host(driver);
  const auto first = host.connect();
  const auto second = host.connect();
  const auto third = host.connect();
  host.table.find(second.first)->close(/*broken=*/false);
  int visits = 0;
  host.table.for_each([&](Connection& connection) {
    ++visits;
    CHECK(connection.id() != second.first);
  });
  CHECK(visits == 2);
  CHECK(host.table.open() == 2);
  CHECK(host.table.find({99, 1}) == nullptr);
  CHECK(host.table.find({first.first.slot, 0}) == nullptr);
  CHECK(host.table.find({third.first.slot, 2}) == nullptr);
}

}  // namespace
}  // namespace pool_server
