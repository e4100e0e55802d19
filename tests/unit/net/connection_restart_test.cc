#include <doctest/doctest.h>

#include <string>

#include "net/connection.h"
#include "support/fake_host.h"

namespace pool_server {
namespace {

// A server before and one after a restart, and a client that stays connected.
struct RestartFixture {
  LoopDriver driver;
  FakeHost before{driver};
  std::pair<ConnectionId, Client> guest = before.connect();
  Client& client = guest.second;

  Connection& connection() { return *before.table.find(guest.first); }
  bool asked(FakeHost& host, std::size_t count) {
    return driver.run_until([&] { return host.requests.size() >= count; });
  }
  // What the first server leaves; the requests that it has not answered are with its pool.
  CarriedConnection carry() {
    std::vector<RunPtr> undone;
    for (const FakeHost::Request& request : before.requests) {
      undone.push_back(std::make_unique<Run>());
      undone.back()->sequence = request.sequence;
      undone.back()->add(request.text);
    }
    return connection().carry(std::move(undone));
  }
  // Goes on in `after` as the next process would, with a duplicate of the socket.
  void restart(FakeHost& after) {
    CarriedConnection carried = carry();
    UniqueFd duplicate = checked_fd(::dup(connection().descriptor()), "dup");
    connection().close(/*broken=*/false);
    before.table.reap();
    after.table.add(std::move(duplicate), after).restore(std::move(carried));
  }
  bool hears(const std::string& all) {
    return driver.run_until([&] {
      client.listen();
      return client.heard().size() >= all.size();
    }) && client.heard() == all;
  }
};

TEST_CASE_FIXTURE(RestartFixture, "restart: a client gets every answer once and in order") {
  client.send("1\n2\n3\n4\nbeg");
  REQUIRE(asked(before, 4));
  before.answer(before.requests[0], "1");
  CHECK(hears("result: 1\n"));
  before.answer(before.requests[2], "3");  // waits for the second
  before.requests.erase(before.requests.begin());
  connection().prepare_to_carry(Connection::Carry::kAsItIs);
  client.send("un\n5\n");  // not read any more by the first server
  driver.run_rounds(3);
  CHECK(before.closed.empty());
  CHECK(connection().to_be_carried());

  FakeHost after(driver);
  restart(after);
  REQUIRE(asked(after, 4));
  CHECK(after.requests[0].text == "2");
  CHECK(after.requests[1].text == "4");
  CHECK(after.requests[2].text == "begun");
  after.answer_all();
  CHECK(hears("result: 1\nresult: 2\nresult: 3\nresult: 4\nresult: begun\nresult: 5\n"));
}

TEST_CASE_FIXTURE(RestartFixture, "restart: a request that waited for the queue is not forgotten") {
  before.room = 1;
  client.send("1\n2\n3\n");
  CHECK(driver.run_until([&] { return before.offered == 2; }));
  connection().prepare_to_carry(Connection::Carry::kAsItIs);
  driver.run_rounds(2);
  FakeHost after(driver);
  after.room = 2;
  restart(after);
  REQUIRE(asked(after, 2));
  after.room = SIZE_MAX;
  after.table.for_each([&after](Connection& each) { after.resume(each); });
  REQUIRE(asked(after, 3));
  after.answer_all();
  CHECK(hears("result: 1\nresult: 2\nresult: 3\n"));
}

TEST_CASE_FIXTURE(RestartFixture,
                  "restart: what is carried over keeps to the limits of the new process") {
  client.send("1\n2\n3\n");
  REQUIRE(asked(before, 3));
  FakeHost after(driver);
  after.bounds.max_unanswered = 2;
  restart(after);
  driver.run_rounds(3);
  CHECK(after.requests.size() == 2);
  after.answer_all();
  REQUIRE(asked(after, 1));
  after.answer_all();
  CHECK(hears("result: 1\nresult: 2\nresult: 3\n"));
}

TEST_CASE_FIXTURE(RestartFixture,
                  "restart: a client that has half-closed gets its answers and the end") {
  client.send("1\n2");
  client.shut_down_sending();
  REQUIRE(asked(before, 2));
  connection().prepare_to_carry(Connection::Carry::kAsItIs);
  driver.run_rounds(2);
  CHECK(before.closed.empty());
  FakeHost after(driver);
  restart(after);
  REQUIRE(asked(after, 2));
  after.answer_all();
  CHECK(driver.run_until([&] { return client.listen(); }));
  CHECK(client.heard() == "result: 1\nresult: 2\n");
}

TEST_CASE_FIXTURE(RestartFixture, "restart: an idle client waits to be carried, and asks on") {
  connection().prepare_to_carry(Connection::Carry::kAsItIs);
  driver.run_rounds(2);
  CHECK(before.closed.empty());
  FakeHost after(driver);
  restart(after);
  client.send("hello\n");
  REQUIRE(asked(after, 1));
  after.answer_all();
  CHECK(hears("result: hello\n"));
}

TEST_CASE_FIXTURE(RestartFixture,
                  "restart: who is prepared once more keeps the line that has begun") {
  client.send("1\nbeg");
  REQUIRE(asked(before, 1));
  connection().prepare_to_carry(Connection::Carry::kAsItIs);
  connection().prepare_to_carry(Connection::Carry::kAsItIs);
  FakeHost after(driver);
  restart(after);
  client.send("un\n");
  REQUIRE(asked(after, 2));
  CHECK(after.requests[1].text == "begun");
  after.answer_all();
  CHECK(hears("result: 1\nresult: begun\n"));
}

TEST_CASE_FIXTURE(RestartFixture,
                  "restart: who reads no more does not wait for memory to read with") {
  before.memory().set_limit(1000, 1000);
  client.send("half a line");
  CHECK(driver.run_until([&] { return before.received > 0; }));
  const HeldByOthers others(before.memory(), 1000);
  connection().prepare_to_carry(Connection::Carry::kDelivered);
  driver.run_rounds(2);
  CHECK(before.starved.empty());
}

TEST_CASE_FIXTURE(RestartFixture,
                  "restart: the rest of a line that is too long is skipped afterwards too") {
  client.send(std::string(2 * before.longest_line, 'x'));
  CHECK(hears("ERROR: too long\n"));
  connection().prepare_to_carry(Connection::Carry::kAsItIs);
  driver.run_rounds(2);
  FakeHost after(driver);
  restart(after);
  client.send("xxx\nok\n");
  REQUIRE(asked(after, 1));
  after.answer_all();
  CHECK(hears("ERROR: too long\nresult: ok\n"));
}

TEST_CASE_FIXTURE(RestartFixture,
                  "restart: a half line is no slow one while requests before it wait") {
  // Fails when the error takes the place of the replies that are owed before it.
  client.send("1\n2\nhalf");
  REQUIRE(asked(before, 2));
  connection().prepare_to_carry(Connection::Carry::kAsItIs);
  FakeHost after(driver);
  after.patience.line = 20'000;
  after.room = 0;
  after.memory().set_limit(1000, 1000);
  const HeldByOthers others(after.memory(), 1000);
  restart(after);
  driver.run_rounds(2);
  driver.timers.fire_due(driver.loop.now() + 30'000);
  driver.run_rounds(2);
  CHECK(after.expired.empty());
}

}  // namespace
}  // namespace pool_server
