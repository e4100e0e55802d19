#include <doctest/doctest.h>

#include <string>

#include "net/connection.h"
#include "support/fake_host.h"

namespace pool_server {
namespace {

const std::string kHeader = "PROXY TCP4 192.0.2.1 203.0.113.7 4711 80\r\n";

struct ProxiedFixture {
  LoopDriver driver;
  FakeHost host{driver};
  std::pair<ConnectionId, Client> guest = host.connect();
  Client& client = guest.second;

  ProxiedFixture() { connection().expect_header(); }
  Connection& connection() { return *host.table.find(guest.first); }
  void send(std::string_view bytes) {
    client.send(bytes);
    driver.run_rounds(2);
  }
};

TEST_CASE_FIXTURE(ProxiedFixture,
                  "proxied connection: the client's bytes begin behind the header") {
  send(kHeader + "one\ntwo\n");
  REQUIRE(host.requests.size() == 2);
  CHECK(host.requests[0].text == "one");
  CHECK(host.known == 1);
  CHECK(connection().peer() == "192.0.2.1:4711");
  CHECK(connection().peer_key().kind == PeerKey::Kind::kIpv4);
  CHECK_FALSE(connection().awaits_header());
  send(kHeader);  // from now on it is a line like any other
  REQUIRE(host.requests.size() == 3);
  CHECK(host.requests[2].text == kHeader.substr(0, kHeader.size() - 2));
}

TEST_CASE_FIXTURE(ProxiedFixture, "proxied connection: the header comes in any pieces") {
  const std::string all = kHeader + "one\n";
  for (const char byte : all) {
    CHECK(host.requests.empty());
    send({&byte, 1});
  }
  REQUIRE(host.requests.size() == 1);
  CHECK(host.requests[0].text == "one");
  CHECK(host.known == 1);
}

TEST_CASE_FIXTURE(ProxiedFixture,
                  "proxied connection: a proxy that speaks for itself is the peer") {
  const std::string own = connection().peer();
  send("PROXY UNKNOWN\r\none\n");
  CHECK(host.requests.size() == 1);
  CHECK(host.known == 1);
  CHECK(connection().peer() == own);
}

TEST_CASE_FIXTURE(ProxiedFixture, "proxied connection: without a valid header nothing is asked") {
  send("one\ntwo\n");
  CHECK(host.requests.empty());
  CHECK(host.bad_headers == 1);
  CHECK(host.known == 0);
}

TEST_CASE_FIXTURE(ProxiedFixture,
                  "proxied connection: it may end before the header, not within it") {
  client.shut_down_sending();
  driver.run_rounds(3);
  CHECK(host.bad_headers == 0);
  CHECK(host.closed.size() == 1);

  auto [id, other] = host.connect();
  host.table.find(id)->expect_header();
  other.send(kHeader.substr(0, 10));
  other.shut_down_sending();
  driver.run_rounds(3);
  CHECK(host.bad_headers == 1);
  CHECK(host.requests.empty());
}

TEST_CASE("proxied connection: a header that does not come is a line that does not come") {
  LoopDriver driver;
  FakeHost host(driver);
  host.patience.line = 1'000'000;
  auto [id, client] = host.connect();
  host.table.find(id)->expect_header();
  SUBCASE("nothing at all") {}
  SUBCASE("a part of it") {
    client.send("PROXY ");
  }
  driver.run_rounds(2);
  driver.timers.fire_due(driver.loop.now() + 2'000'000);
  CHECK(host.expired == std::vector{Expiry::kLine});
}

TEST_CASE("proxied connection: once the header has come, no line has begun") {
  LoopDriver driver;
  FakeHost host(driver);
  host.patience.line = 1'000'000;
  auto [id, client] = host.connect();
  host.table.find(id)->expect_header();
  client.send(kHeader);
  driver.run_rounds(2);
  driver.timers.fire_due(driver.loop.now() + 2'000'000);
  CHECK(host.expired.empty());
}

TEST_CASE_FIXTURE(ProxiedFixture, "proxied connection: a restart takes along what is known") {
  std::size_t sent = 0;
  SUBCASE("nothing") {}
  SUBCASE("a part of the header") {
    sent = 20;
  }
  SUBCASE("the header") {
    sent = kHeader.size();
  }
  SUBCASE("the header and half a line") {
    sent = kHeader.size() + 2;
  }
  const std::string all = kHeader + "one\n";
  send(all.substr(0, sent));
  connection().prepare_to_carry(Connection::Carry::kAsItIs);
  driver.run_rounds(2);
  CarriedConnection carried = connection().carry({});
  UniqueFd duplicate = checked_fd(::dup(connection().descriptor()), "dup");
  connection().close(/*broken=*/false);
  host.table.reap();

  FakeHost after(driver);
  Connection& next = after.table.add(std::move(duplicate), after);
  next.restore(std::move(carried));
  CHECK(next.awaits_header() == (sent < kHeader.size()));
  client.send(all.substr(sent));
  driver.run_rounds(3);
  REQUIRE(after.requests.size() == 1);
  CHECK(after.requests[0].text == "one");
  CHECK(next.peer() == "192.0.2.1:4711");
  CHECK(after.known == (sent < kHeader.size() ? 1 : 0));
}

}  // namespace
}  // namespace pool_server
