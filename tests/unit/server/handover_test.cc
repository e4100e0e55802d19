#include "server/handover.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "server/inheritance.h"
#include "support/fake_manager.h"
#include "sys/socket.h"

namespace pool_server {
namespace {

// Connections of the first process, of which the test keeps the clients' ends.
struct Connections {
  std::vector<UniqueFd> ours;
  std::vector<UniqueFd> clients;
  std::vector<CarriedConnection> states;

  explicit Connections(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      auto [our, client] = socket_pair();
      CarriedConnection state;
      state.cookie = socket_cookie(our.get());
      state.serial = i;
      state.unsent = "for client " + std::to_string(i);
      states.push_back(std::move(state));
      ours.push_back(std::move(our));
      clients.push_back(std::move(client));
    }
  }
};

// The manager has a second for it, which on a machine that stands still may not be enough.
std::optional<Handover> offered() {
  std::optional<Handover> handover;
  REQUIRE(eventually([&] { return (handover = Handover::offer()).has_value(); }));
  return handover;
}

TEST_CASE("handover: connections outlive the process, each with its own state") {
  FakeManager manager;
  Connections connections(600);  // more than fit into one message
  {
    std::optional<Handover> handover = offered();
    handover->begin({1, 2}, 2);
    for (std::size_t i = 0; i < 600; ++i) {
      REQUIRE(handover->add(connections.states[i], connections.ours[i].get()));
    }
    CHECK(handover->send() == std::vector<bool>(600, true));
    CHECK(handover->fault().empty());
    connections.ours.clear();
  }
  auto stored = manager.take_stored();
  REQUIRE(stored.size() == 1);
  std::vector<Inheritance::Connection> restored;
  for (int start = 0; start < 2; ++start) {  // the first one fails, and has changed nothing
    restored.clear();
    Inheritance inheritance(stored.front().get());
    CHECK(inheritance.fault().empty());
    CHECK(inheritance.totals() == std::vector<std::uint64_t>{1, 2});
    while (auto connection = inheritance.next()) restored.push_back(std::move(*connection));
    CHECK(inheritance.unknown() == 0);
    CHECK(inheritance.missing() == 0);
    CHECK(restored.size() == 600);
  }
  Inheritance::settle(stored.front().get());
  for (const auto& [socket, state] : restored) {
    CHECK(state.cookie == socket_cookie(socket.get()));
    CHECK(is_nonblocking(socket.get()));
    REQUIRE(send(socket.get(), state.unsent).status == IoStatus::kOk);
    std::string heard(100, ' ');
    const IoResult received = receive(connections.clients[state.serial].get(), heard);
    CHECK(heard.substr(0, received.bytes) == "for client " + std::to_string(state.serial));
  }
  // Nobody else holds them any more.
  restored.clear();
  std::string heard(1, ' ');
  for (const UniqueFd& client : connections.clients) {
    CHECK(receive(client.get(), heard).status == IoStatus::kEof);
  }
  CHECK_FALSE(Inheritance(stored.front().get()).fault().empty());
}

TEST_CASE("handover: without a manager, or one that keeps nothing, there is none") {
  {
    const ScopedVariable none("NOTIFY_SOCKET", std::nullopt);
    CHECK_FALSE(Handover::offer().has_value());
  }
  FakeManager forgetful(/*keeps=*/false);
  CHECK_FALSE(Handover::offer().has_value());
  CHECK(forgetful.is_told_to_remove());  // in case it has kept it all the same
}

TEST_CASE("handover: a connection without a name in other processes is left out, and no other") {
  FakeManager manager;
  Connections connections(3);
  std::optional<Handover> handover = offered();
  handover->begin({}, 1);
  connections.states[1].cookie = 0;
  CHECK(handover->add(connections.states[0], connections.ours[0].get()));
  CHECK_FALSE(handover->add(connections.states[1], connections.ours[1].get()));
  CHECK(handover->add(connections.states[2], connections.ours[2].get()));
  CHECK(handover->send() == std::vector<bool>{true, true});
}

TEST_CASE("handover: a socket that cannot be sent costs no other, and is not missed") {
  FakeManager manager;
  Connections connections(3);
  std::optional<Handover> handover = offered();
  handover->begin({}, 1);
  for (std::size_t i = 0; i < 3; ++i) {
    REQUIRE(handover->add(connections.states[i], connections.ours[i].get()));
  }
  connections.ours[1].reset();
  CHECK(handover->send() == std::vector<bool>{true, false, true});
  auto stored = manager.take_stored();
  REQUIRE(stored.size() == 1);
  Inheritance inheritance(stored.front().get());
  CHECK(inheritance.next()->state == connections.states[0]);
  CHECK(inheritance.next()->state == connections.states[2]);
  CHECK_FALSE(inheritance.next().has_value());
  CHECK(inheritance.missing() == 0);
}

// What is sent when only so many descriptors find room, all together and at once.
struct Room {
  std::size_t all;
  std::size_t at_once;
  std::vector<std::size_t> bunches = {};

  std::vector<bool> send(std::size_t count, std::size_t most) {
    std::vector<int> fds(count);
    return send_all(fds, most, [this](std::span<const int> bunch) {
      if (bunch.size() > std::min(all, at_once)) return false;
      all -= bunch.size();
      bunches.push_back(bunch.size());
      return true;
    });
  }
};

TEST_CASE("handover: bunches that do not fit are tried again in smaller ones") {
  Room ample{1000, 1000};
  CHECK(ample.send(600, 253) == std::vector<bool>(600, true));
  CHECK(ample.bunches == std::vector<std::size_t>{253, 253, 94});

  Room short_of_three{597, 1000};
  const auto sent = short_of_three.send(600, 253);
  CHECK(std::ranges::count(sent, true) == 597);  // the last descriptor that fits is used
  CHECK(std::ranges::is_sorted(sent, std::greater<>()));

  Room narrow{1000, 7};
  CHECK(narrow.send(600, 253) == std::vector<bool>(600, true));

  Room none{0, 0};
  CHECK(none.send(600, 253) == std::vector<bool>(600, false));
  CHECK(none.send(0, 253).empty());
}

TEST_CASE("handover: bunches grow again once one has fitted") {
  int calls = 0;
  const std::vector<int> fds(2000);
  const auto sent = send_all(fds, 250, [&calls](std::span<const int>) { return ++calls > 4; });
  CHECK(sent == std::vector<bool>(2000, true));
  CHECK(calls < 25);
}

}  // namespace
}  // namespace pool_server
