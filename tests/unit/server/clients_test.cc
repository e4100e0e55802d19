#include "server/clients.h"

#include <doctest/doctest.h>

#include <new>
#include <string>
#include <utility>
#include <vector>

#include "support/failing_new.h"
#include "support/front_desk.h"
#include "support/log_pipe.h"
#include "sys/socket.h"

namespace pool_server {
namespace {

TEST_CASE("clients: each line has its answer, in the order of the lines") {
  Options options = one_worker();
  options.max_line = 10;
  FrontDesk desk(options);
  Client client = desk.connect();
  client.send("a\n\nSTATS\nlonger than that\nfail\nthrow\nb\n");
  CHECK(desk.hears(client,
                   "result: a\nERROR: empty request\nstats:\n"
                   "ERROR: line too long (max 10 bytes)\nERROR: fail\n"
                   "ERROR: internal error\nresult: b\n"));
  CHECK(desk.counters.accepted == 1);
  CHECK(desk.counters.bytes_in == 39);
  CHECK(desk.counters.bytes_out == client.heard().size());
  CHECK(desk.only_connection().requests == 4);  // of workers
}

TEST_CASE("clients: those who are heard in one round know what the others were charged with") {
  // Fails when each finds the memory as it was at the begin of the round.
  Options options = one_worker();
  options.max_memory = 8'000;
  options.max_connections = 100;
  FrontDesk desk(options);
  LogPipe log(LogLevel::kWarning);
  std::vector<Client> all;
  for (int i = 0; i < 80; ++i) all.push_back(desk.connect());
  CHECK(desk.serves(80));
  for (Client& client : all) client.send("wait\n");  // each charged with more than 100 bytes
  CHECK(desk.driver.run_until([&] { return desk.script.begun == 1; }));
  CHECK(desk.driver.run_until(
      [&] { return log.read().find("clients wait for memory: ") != std::string::npos; }));
  desk.driver.run_rounds(5);
  CHECK(desk.clients.memory().held() <= options.max_memory);
  CHECK(desk.admission.outstanding() < 80);
  desk.script.gate.open();
  for (Client& client : all) CHECK(desk.hears(client, "result: wait\n"));
}

TEST_CASE("clients: who held nothing gets no more than others once it holds something") {
  // Fails when the exception for a first request is made for all that come with it.
  Options options = one_worker();
  options.max_memory = 16'000;
  options.max_connections = 100;
  FrontDesk desk(options);
  Client greedy = desk.connect();
  std::string many;
  for (int i = 0; i < 100; ++i) many += "wait\n";
  greedy.send(many);
  CHECK(desk.driver.run_until([&] { return desk.script.begun == 1; }));
  desk.driver.run_rounds(5);
  const std::size_t before = desk.admission.outstanding();
  Client newcomer = desk.connect();
  CHECK(desk.serves(2));
  newcomer.send(many);
  CHECK(desk.driver.run_until([&] { return desk.admission.outstanding() >= before + 1; }));
  desk.driver.run_rounds(10);
  CHECK(desk.admission.outstanding() <= before + 3);
  desk.script.gate.open();
  CHECK(desk.driver.run_until([&] {
    newcomer.listen();
    greedy.listen();
    return newcomer.heard().size() == 1300 && greedy.heard().size() == 1300;
  }));
}

TEST_CASE(
    "clients: memory that runs out in a round with several costs some, and mixes nothing up") {
  for (std::size_t successes = 0; successes < 40; ++successes) {
    CAPTURE(successes);
    FrontDesk desk(one_worker());
    std::vector<Client> all;
    for (int i = 0; i < 4; ++i) all.push_back(desk.connect());
    CHECK(desk.serves(4));
    int round = 0;
    desk.driver.at_end_of_round = [&] {
      if (round++ == 1) {
        const FailingNew fails(successes, FailingNew::Then::kRecovers);
        try {
          desk.end_round();
        } catch (const std::bad_alloc&) {  // as the server does, all goes on in the next round
        }
      } else {
        desk.end_round();
      }
    };
    for (std::size_t i = 0; i < 4; ++i) all[i].send("client " + std::to_string(i) + "\nand more\n");
    for (std::size_t i = 0; i < 4; ++i) {
      CAPTURE(i);
      const std::string due = "result: client " + std::to_string(i) + "\nresult: and more\n";
      CHECK(desk.driver.run_until(
          [&] { return all[i].listen() || all[i].heard().size() >= due.size(); }));
      const std::string& heard = all[i].heard();
      CHECK(due.starts_with(heard));  // whom it cost the connection may have had the first before
      CHECK((heard.empty() || heard.ends_with('\n')));
    }
  }
}

TEST_CASE("clients: the requests of who was let in take no memory of the queue") {
  for (std::size_t count = 1; count <= 9; ++count) {
    CAPTURE(count);
    FrontDesk desk(one_worker());
    std::vector<Client> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(desk.connect());
    CHECK(desk.serves(count));
    for (Client& client : all) client.send("text\n");
    desk.driver.at_end_of_round = [&desk] { desk.clients.visit_readable(); };
    CHECK(desk.driver.run_until([&] { return desk.admission.staged() == count; }));
    {
      const FailingNew fails(0, FailingNew::Then::kStaysOut);
      CHECK_NOTHROW(desk.admission.submit(desk.driver.loop.now()));
    }
    desk.driver.at_end_of_round = [&desk] { desk.end_round(); };
    for (Client& client : all) CHECK(desk.hears(client, "result: text\n"));
  }
}

TEST_CASE("clients: whoever comes over the limit hears so, and does not count") {
  Options options = one_worker();
  options.max_connections = 2;
  FrontDesk desk(options);
  Client first = desk.connect();
  Client second = desk.connect();
  CHECK(desk.serves(2));
  Client third = desk.connect();
  CHECK(desk.hears(third, "ERROR: too many connections\n"));
  CHECK(desk.sees_the_end(third));
  CHECK(desk.counters.refused == 1);
  CHECK(desk.clients.served() == 2);
  second.leave();
  third.leave();
  CHECK(desk.driver.run_until([&] { return desk.connections.open() == 1; }));
  CHECK(desk.clients.served() == 1);
  Client fourth = desk.connect();
  fourth.send("a\n");
  CHECK(desk.hears(fourth, "result: a\n"));
  CHECK(desk.counters.refused == 1);
}

TEST_CASE("clients: one peer has so many connections, and its place again when one goes") {
  Options options = one_worker();
  options.max_connections_per_peer = 2;
  FrontDesk desk(options);
  Client first = desk.connect();
  Client second = desk.connect();
  CHECK(desk.serves(2));
  Client third = desk.connect();
  CHECK(desk.hears(third, "ERROR: too many connections from this client\n"));
  first.leave();
  CHECK(desk.serves(1));
  Client fourth = desk.connect();
  fourth.send("a\n");
  CHECK(desk.hears(fourth, "result: a\n"));
}

TEST_CASE("clients: a limit for a peer counts those who came before it was set") {
  Options options = one_worker();
  options.max_connections = 1;
  FrontDesk desk(options);
  Client first = desk.connect();
  CHECK(desk.serves(1));
  Client refused = desk.connect();
  CHECK(desk.hears(refused, "ERROR: too many connections\n"));
  Options wanted = desk.options;
  wanted.max_connections = 10;
  wanted.max_connections_per_peer = 2;
  desk.clients.make_room_to_reconfigure(wanted);
  desk.options = wanted;
  desk.clients.reconfigure();
  Client second = desk.connect();
  second.send("a\n");
  CHECK(desk.hears(second, "result: a\n"));
  Client third = desk.connect();
  CHECK(desk.hears(third, "ERROR: too many connections from this client\n"));
  desk.options.max_connections_per_peer = 0;
  desk.clients.reconfigure();
  Client fourth = desk.connect();
  fourth.send("a\n");
  CHECK(desk.hears(fourth, "result: a\n"));
}

TEST_CASE("clients: where requests are refused, what does not fit is told so") {
  Options options = one_worker();
  options.queue_capacity = 1;
  options.overload = Overload::kReject;
  FrontDesk desk(options);
  Client client = desk.connect();
  client.send("wait\n");
  CHECK(desk.driver.run_until([&] { return desk.script.begun == 1; }));
  client.send("a\nb\nc\n");
  CHECK(desk.driver.run_until([&] { return desk.counters.shed_busy == 2; }));
  desk.script.gate.open();
  CHECK(desk.hears(client, "result: wait\nresult: a\nERROR: server busy\nERROR: server busy\n"));
  CHECK(desk.counters.errors == 2);
}

TEST_CASE("clients: whose connection breaks takes its requests along") {
  FrontDesk desk(one_worker());
  Client client = desk.connect();
  client.send("wait\na\nb\n");
  CHECK(desk.driver.run_until(
      [&] { return desk.script.begun == 1 && desk.admission.outstanding() == 3; }));
  Client other = desk.connect();
  other.send("c\n");
  CHECK(desk.driver.run_until([&] { return desk.admission.outstanding() == 4; }));
  client.break_off();
  CHECK(desk.serves(1));
  CHECK(desk.counters.cancelled == 2);
  CHECK(desk.admission.outstanding() == 2);
  desk.script.gate.open();
  CHECK(desk.hears(other, "result: c\n"));
  CHECK(desk.counters.dropped == 1);
  CHECK(desk.script.begun == 2);
}

TEST_CASE("clients: who is idle for too long hears so, who is waited for does not") {
  Options options = one_worker();
  options.idle_timeout = 20'000;
  FrontDesk desk(options);
  Client working = desk.connect();
  working.send("wait\n");
  Client idle = desk.connect();
  CHECK(desk.hears(idle, "ERROR: idle for too long\n"));
  CHECK(desk.sees_the_end(idle));
  CHECK(desk.counters.idle_closed == 1);
  CHECK(desk.counters.slow_lines == 0);
  desk.script.gate.open();
  CHECK(desk.hears(working, "result: wait\nERROR: idle for too long\n"));
}

TEST_CASE("clients: who does not complete a line in time hears so") {
  Options options = one_worker();
  options.line_timeout = 20'000;
  FrontDesk desk(options);
  Client client = desk.connect();
  client.send("half a");
  CHECK(desk.hears(client, "ERROR: request not completed in time\n"));
  CHECK(desk.sees_the_end(client));
  CHECK(desk.counters.slow_lines == 1);
  CHECK(desk.counters.idle_closed == 0);
}

TEST_CASE("clients: who is seen out keeps no memory for a line that it did not complete") {
  Options options = one_worker();
  options.line_timeout = 20'000;
  FrontDesk desk(options);
  Client slow = desk.connect();
  slow.send(std::string(3'000, 'x'));
  CHECK(desk.hears(slow, "ERROR: request not completed in time\n"));
  REQUIRE(desk.connections.open() == 1);      // it may read the end of it yet
  CHECK(desk.clients.memory().held() < 100);  // what it was told
}

TEST_CASE("clients: who does not read its replies is cut off") {
  Options options = one_worker();
  options.send_timeout = 50'000;
  FrontDesk desk(options);
  Client client = desk.connect();
  const int small = 4096;
  ::setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  bool closed = false;
  std::string lines;  // whatever piece of them is sent, there are ends of lines in it
  for (int i = 0; i < 100; ++i) lines += std::string(1'000, 'x') + "\n";
  CHECK(desk.driver.run_until([&] {
    try {
      if (desk.counters.slow_readers == 0 && !closed) client.send(lines);
    } catch (const std::system_error& error) {
      closed = error.code().value() != EAGAIN;
    }
    return desk.counters.slow_readers == 1;
  }));
  CHECK(desk.clients.served() == 0);
}

TEST_CASE("clients: newcomers wait in the backlog while there is no descriptor") {
  FrontDesk desk(one_worker());
  Client first = desk.connect();
  CHECK(desk.serves(1));
  Client second = desk.connect();
  {
    const NoDescriptorsLeft limit;
    desk.driver.run_rounds(5);
    CHECK(desk.driver.is_quiet());
  }
  second.send("a\n");
  CHECK(desk.hears(second, "result: a\n"));  // half a second later, at the latest
}

TEST_CASE("clients: a client that goes makes room for who waits, at once") {
  FrontDesk desk(one_worker());
  Client first = desk.connect();
  CHECK(desk.serves(1));
  const ConnectionId leaving = desk.only_connection().id();
  Client second = desk.connect();
  const NoDescriptorsLeft limit;
  desk.driver.run_rounds(5);
  CHECK(desk.clients.served() == 1);
  CHECK(desk.driver.is_quiet());
  first.leave();  // two descriptors, of which the server needs one
  CHECK(desk.driver.run_until([&] { return desk.connections.find(leaving) == nullptr; }));
  desk.driver.run_rounds(2);
  CHECK(desk.counters.accepted == 2);
  second.send("a\n");
  CHECK(desk.hears(second, "result: a\n"));
}

TEST_CASE("clients: newcomers are left in the backlog, and served later") {
  FrontDesk desk(one_worker());
  Client first = desk.connect();
  CHECK(desk.serves(1));
  desk.clients.take_newcomers(false);
  Client second = desk.connect();
  second.send("b\n");
  first.send("a\n");
  CHECK(desk.hears(first, "result: a\n"));
  desk.driver.run_rounds(10);
  CHECK(desk.clients.served() == 1);
  desk.clients.take_newcomers(true);
  CHECK(desk.hears(second, "result: b\n"));
}

TEST_CASE("clients: a drain answers what was accepted, and ends the connections") {
  FrontDesk desk(one_worker());
  Client working = desk.connect();
  Client idle = desk.connect();
  working.send("wait\na\n");
  CHECK(desk.driver.run_until(
      [&] { return desk.script.begun == 1 && desk.admission.outstanding() == 2; }));
  CHECK(desk.serves(2));
  CHECK(desk.clients.debts().connections == 1);
  CHECK(desk.clients.debts().replies == 2);
  const int listener = desk.listener;
  desk.clients.begin_drain(Connection::Carry::kNo);
  CHECK_FALSE(is_open(listener));
  working.send("not accepted\n");
  CHECK(desk.sees_the_end(idle));
  CHECK(idle.heard().empty());
  desk.script.gate.open();
  CHECK(desk.hears(working, "result: wait\nresult: a\n"));
  CHECK(desk.sees_the_end(working));
  CHECK(desk.driver.run_until([&] { return desk.connections.open() == 0; }));
  CHECK(desk.clients.debts().connections == 0);
}

TEST_CASE("clients: a drain for a successor keeps the connections, and reads no more") {
  FrontDesk desk(one_worker());
  Client client = desk.connect();
  CHECK(desk.serves(1));
  desk.clients.begin_drain(Connection::Carry::kAsItIs);
  client.send("a\n");
  desk.driver.run_rounds(10);
  CHECK_FALSE(client.listen());
  CHECK(client.heard().empty());
  CHECK(desk.only_connection().to_be_carried());
}

TEST_CASE("clients: what an earlier process left goes on where it was") {
  FrontDesk desk(one_worker());
  auto [ours, theirs] = socket_pair();
  Client client(std::move(theirs));
  CarriedConnection state;
  state.serial = 7;
  state.unsent = "result: half";
  state.owed = {{.kind = CarriedAnswer::Kind::kRequest, .text = "a"},
                {.kind = CarriedAnswer::Kind::kStats, .text = {}},
                {.kind = CarriedAnswer::Kind::kReply, .text = "result: b\n"}};
  state.undecoded = "c\nd";
  desk.clients.restore(std::move(ours), std::move(state));
  CHECK(desk.hears(client, "result: halfresult: a\nstats:\nresult: b\nresult: c\n"));
  CHECK(desk.only_connection().serial() == 7);
  client.send("e\n");
  CHECK(desk.hears(client, "result: halfresult: a\nstats:\nresult: b\nresult: c\nresult: de\n"));
}

TEST_CASE("clients: restored ones are given what was accepted, full or not") {
  Options options = one_worker();
  options.queue_capacity = 1;
  options.overload = Overload::kReject;
  FrontDesk desk(options);
  auto [ours, theirs] = socket_pair();
  Client client(std::move(theirs));
  CarriedConnection state;
  for (int i = 0; i < 10; ++i) state.owed.push_back({.text = "a"});
  desk.clients.restore(std::move(ours), std::move(state));
  std::string all;
  for (int i = 0; i < 10; ++i) all += "result: a\n";
  CHECK(desk.hears(client, all));
  CHECK(desk.counters.shed_busy == 0);
}

TEST_CASE("clients: one that is forgotten stays open for who else holds it") {
  FrontDesk desk(one_worker());
  auto [ours, theirs] = socket_pair();
  const UniqueFd held(::dup(ours.get()));
  Client client(std::move(theirs));
  desk.clients.restore(std::move(ours), CarriedConnection());
  CHECK(desk.clients.served() == 1);
  desk.clients.forget_all();
  CHECK(desk.clients.served() == 0);
  CHECK_FALSE(client.listen());
  CHECK(send(held.get(), "still here").status == IoStatus::kOk);
  client.listen();
  CHECK(client.heard() == "still here");
}

TEST_CASE("clients: who comes through a proxy is who the proxy says, for limits as well") {
  Options options = one_worker();
  options.proxy_protocol = true;
  options.max_connections_per_peer = 1;
  FrontDesk desk(options);
  Client first = desk.connect();
  first.send("PROXY TCP4 192.0.2.1 192.0.2.9 1000 9090\r\na\n");
  CHECK(desk.hears(first, "result: a\n"));
  CHECK(desk.only_connection().peer() == "192.0.2.1:1000");
  Client second = desk.connect();
  second.send("PROXY TCP4 192.0.2.2 192.0.2.9 1000 9090\r\nb\n");
  CHECK(desk.hears(second, "result: b\n"));
  Client third = desk.connect();
  third.send("PROXY TCP4 192.0.2.2 192.0.2.9 1001 9090\r\nc\n");
  CHECK(desk.hears(third, "ERROR: too many connections from this client\n"));
  Client fourth = desk.connect();
  fourth.send("d\n");
  CHECK(desk.hears(fourth, "ERROR: no valid PROXY header\n"));
  CHECK(desk.counters.refused == 2);
  CHECK(desk.clients.served() == 2);
}

}  // namespace
}  // namespace pool_server
