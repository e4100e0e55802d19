#include "server/succession.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/estate.h"
#include "support/fake_manager.h"
#include "support/front_desk.h"

namespace pool_server {
namespace {

// One process of the service, as far as it leaves something or takes it over.
struct Generation {
  FrontDesk desk{one_worker()};
  Succession succession{desk.connections, desk.clients, desk.watch, desk.counters};
};

// As it is passed to a start by the manager, which keeps its own.
std::vector<UniqueFd> passed(const UniqueFd& channel) {
  std::vector<UniqueFd> channels;
  channels.emplace_back(::dup(channel.get()));
  return channels;
}

TEST_CASE("succession: without a manager there is nobody to leave anything to") {
  const ScopedVariable none("NOTIFY_SOCKET", std::nullopt);
  Generation only;
  CHECK_FALSE(only.succession.prepare());
  CHECK_FALSE(only.succession.prepared());
  only.succession.inherit({});
  CHECK(only.desk.counters.restarts == 0);
}

TEST_CASE("succession: clients, what they are owed and what was counted go from one to the next") {
  FakeManager manager;
  Client working(UniqueFd{});
  Client idle(UniqueFd{});
  Client half(UniqueFd{});
  std::uint64_t serial = 0;
  {
    Generation first;
    working = first.desk.connect();
    working.send("before\n");
    CHECK(first.desk.hears(working, "result: before\n"));
    serial = first.desk.only_connection().serial();
    idle = first.desk.connect();
    half = first.desk.connect();
    half.send("hal");
    CHECK(first.desk.serves(3));
    working.send("wait\na\n\nSTATS\nb\n");
    CHECK(first.desk.driver.run_until(
        [&] { return first.desk.script.begun == 2 && first.desk.admission.outstanding() == 3; }));
    REQUIRE(eventually([&] { return first.succession.prepare(); }));
    CHECK(first.succession.prepared());
    first.desk.clients.begin_drain(Connection::Carry::kAsItIs);
    first.desk.driver.run_rounds(3);
    first.desk.watch.withdraw();
    CHECK(first.succession.hand_over());
    CHECK(first.desk.connections.open() == 0);
  }
  CHECK_FALSE(idle.listen());
  CHECK_FALSE(working.listen());

  Generation second;
  second.desk.script.gate.open();
  second.succession.inherit(manager.take_stored());
  second.succession.settle();
  CHECK(second.desk.clients.served() == 3);
  CHECK(second.desk.counters.restarts == 1);
  CHECK(second.desk.counters.carried == 3);
  CHECK(second.desk.counters.lost == 0);
  CHECK(second.desk.counters.accepted == 3);
  CHECK(second.desk.counters.cpu_before > 0);
  CHECK(second.desk.hears(working,
                          "result: before\nresult: wait\nresult: a\nERROR: empty request\nstats:\n"
                          "result: b\n"));
  CHECK(second.desk.counters.completed == 4);  // of both
  half.send("f\n");
  CHECK(second.desk.hears(half, "result: half\n"));
  idle.send("c\n");
  CHECK(second.desk.hears(idle, "result: c\n"));
  bool known = false;
  second.desk.connections.for_each(
      [&](Connection& connection) { known = known || connection.serial() == serial; });
  CHECK(known);
  CHECK(manager.is_told_to_remove());
}

TEST_CASE("succession: what cannot be used costs its connections, and they count as lost") {
  const Estate estate;
  estate.leave(sealed_memfd("not a snapshot").get());
  estate.leave(estate.connection.first.get());
  Generation heir;
  heir.succession.inherit(passed(estate.channel.out));
  CHECK(heir.desk.clients.served() == 0);
  CHECK(heir.desk.counters.restarts == 0);
  CHECK(heir.desk.counters.lost == 1);
  CHECK(estate.client_sees_the_end());
}

TEST_CASE("succession: one that is missing or makes no sense costs no other, and counts as lost") {
  const Estate estate;
  const Estate senseless;
  CarriedConnection missing;
  missing.cookie = UINT64_MAX;
  CarriedConnection strange = senseless.state();
  strange.proxied = CarriedConnection::Proxied::kClientKnown;
  strange.client = "no address";
  estate.leave_snapshot({missing, strange, estate.state()});
  estate.leave(senseless.connection.first.get());
  estate.leave(estate.connection.first.get());
  Generation heir;
  heir.succession.inherit(passed(estate.channel.out));
  CHECK(heir.desk.clients.served() == 1);
  CHECK(heir.desk.counters.restarts == 1);
  CHECK(heir.desk.counters.carried == 1);
  CHECK(heir.desk.counters.lost == 2);
  CHECK(senseless.client_sees_the_end());
  CHECK_FALSE(estate.client_sees_the_end());
}

TEST_CASE("succession: a start that fails leaves all to the next one") {
  FakeManager manager;
  Client client(UniqueFd{});
  {
    Generation first;
    client = first.desk.connect();
    CHECK(first.desk.serves(1));
    REQUIRE(eventually([&] { return first.succession.prepare(); }));
    first.desk.clients.begin_drain(Connection::Carry::kAsItIs);
    CHECK(first.succession.hand_over());
  }
  const std::vector<UniqueFd> stored = manager.take_stored();
  REQUIRE(stored.size() == 1);
  {
    Generation second;
    std::vector<UniqueFd> channels = passed(stored.front());
    const NoDescriptorsLeft limit;
    CHECK_THROWS_AS(second.succession.inherit(std::move(channels)), std::system_error);
    CHECK(second.desk.clients.served() == 0);
  }
  CHECK_FALSE(client.listen());
  {
    Generation third;  // fails in a later step
    third.succession.inherit(passed(stored.front()));
    CHECK(third.desk.clients.served() == 1);
  }
  CHECK_FALSE(client.listen());
  Generation fourth;
  fourth.succession.inherit(passed(stored.front()));
  fourth.succession.settle();
  client.send("a\n");
  CHECK(fourth.desk.hears(client, "result: a\n"));
  Generation fifth;
  fifth.succession.inherit(passed(stored.front()));
  CHECK(fifth.desk.clients.served() == 0);
}

}  // namespace
}  // namespace pool_server
