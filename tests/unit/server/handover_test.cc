#include "server/handover.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/fake_manager.h"
#include "sys/memfd.h"
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
  std::vector<int> descriptors() const {
    std::vector<int> fds;
    for (const UniqueFd& fd : ours) fds.push_back(fd.get());
    return fds;
  }
};

TEST_CASE("handover: connections outlive the process, each with its own state") {
  FakeManager manager;
  Connections connections(600);  // more than fit into one message
  {
    auto handover = Handover::offer();
    REQUIRE(handover.has_value());
    CHECK(handover->store(connections.states, connections.descriptors(), {1, 2}) == 600);
    connections.ours.clear();
  }
  auto stored = manager.take_stored();
  REQUIRE(stored.size() == 1);
  const auto inheritance = Handover::collect(std::move(stored.front()));
  CHECK(inheritance.fault.empty());
  CHECK(inheritance.unknown == 0);
  CHECK(inheritance.totals == std::vector<std::uint64_t>{1, 2});
  REQUIRE(inheritance.connections.size() == 600);
  for (const auto& [fd, state] : inheritance.connections) {
    CHECK(state.cookie == socket_cookie(fd.get()));
    CHECK(is_nonblocking(fd.get()));
    REQUIRE(send(fd.get(), state.unsent).status == IoStatus::kOk);
    std::string heard(100, ' ');
    const IoResult received = receive(connections.clients[state.serial].get(), heard);
    CHECK(heard.substr(0, received.bytes) == "for client " + std::to_string(state.serial));
  }
}

TEST_CASE("handover: without a manager, or one that keeps nothing, there is none") {
  {
    const ScopedVariable none("NOTIFY_SOCKET", std::nullopt);
    CHECK_FALSE(Handover::offer().has_value());
  }
  const FakeManager forgetful(/*keeps=*/false);
  CHECK_FALSE(Handover::offer().has_value());
}

// What collect() makes of a channel with these descriptors in it.
Handover::Inheritance collect(const std::vector<int>& fds) {
  FdChannel channel = FdChannel::make();
  if (!fds.empty()) REQUIRE(send_fds(channel.in.get(), fds));
  return Handover::collect(std::move(channel.out));
}

TEST_CASE("handover: a snapshot that cannot be used closes the connections, and says why") {
  const Connections connections(1);
  const int socket = connections.ours.front().get();
  CHECK_FALSE(collect({}).fault.empty());

  const UniqueFd unfinished = make_memfd("test");
  auto inheritance = collect({unfinished.get(), socket});
  CHECK_FALSE(inheritance.fault.empty());
  CHECK(inheritance.unknown == 1);
  CHECK(inheritance.connections.empty());
  std::string heard(10, ' ');
  CHECK(receive(connections.clients.front().get(), heard).status == IoStatus::kEof);

  const UniqueFd garbage = make_memfd("test");
  write_and_seal(garbage.get(), "not a snapshot");
  CHECK_FALSE(collect({garbage.get()}).fault.empty());
}

TEST_CASE("handover: a socket that the snapshot does not know is closed, the others are not") {
  const Connections known(1);
  const Connections stranger(1);
  const UniqueFd memfd = make_memfd("test");
  write_and_seal(memfd.get(), encode({{}, known.states}));
  const auto inheritance =
      collect({memfd.get(), stranger.ours.front().get(), known.ours.front().get()});
  CHECK(inheritance.fault.empty());
  CHECK(inheritance.unknown == 1);
  REQUIRE(inheritance.connections.size() == 1);
  CHECK(inheritance.connections.front().second.cookie == known.states.front().cookie);
}

}  // namespace
}  // namespace pool_server
