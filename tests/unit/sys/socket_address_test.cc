#include "sys/socket_address.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <system_error>

#include "support/descriptors.h"
#include "sys/service_manager.h"

namespace pool_server {
namespace {

const std::vector<std::string> kLocalhost = {"127.0.0.1", "::1"};

TEST_CASE("socket address: what can be listened on") {
  struct Row {
    const char* text;
    std::vector<std::string> hosts;
    unsigned port;
    bool any_host_suffices;
  };
  const Row rows[] = {
      {"9090", kLocalhost, 9090, true},
      {"0", kLocalhost, 0, true},
      {"65535", kLocalhost, 65535, true},
      {"localhost:80", kLocalhost, 80, true},
      {"127.0.0.2:80", {"127.0.0.2"}, 80, false},
      {"0.0.0.0:80", {"0.0.0.0"}, 80, false},
      {"[::]:80", {"::"}, 80, false},
      {"[::1]:80", {"::1"}, 80, false},
      {"[2001:db8::1]:443", {"2001:db8::1"}, 443, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const ListenAddress address = parse_listen_address(row.text);
    CHECK(address.text == row.text);
    CHECK(address.hosts == row.hosts);
    CHECK(address.port == row.port);
    CHECK(address.any_host_suffices == row.any_host_suffices);
    CHECK(address.path.empty());
  }
  const ListenAddress local = parse_listen_address("/run/x:1.sock");
  CHECK(local.path == "/run/x:1.sock");
  CHECK(local.hosts.empty());
}

TEST_CASE("socket address: what cannot") {
  for (const char* text : {"",
                           "x",
                           "-1",
                           "+1",
                           "65536",
                           "99999999999",
                           "80x",
                           " 80",
                           "80 ",
                           ":80",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:x",
                           "127.0.0.1:65536",
                           "256.0.0.1:80",
                           "1.2.3:80",
                           "::1:80",
                           "[::1]",
                           "[::1]80",
                           "[]:80",
                           "[::g]:80",
                           "example.org:80",
                           "relative/path"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_listen_address(text), std::invalid_argument);
  }
}

TEST_CASE("socket address: port 0 is one port, the same on every host") {
  const auto sockets = listen_on(parse_listen_address("0"));
  REQUIRE_FALSE(sockets.empty());
  const auto port = [](const std::string& name) { return name.substr(name.rfind(':') + 1); };
  for (const ListeningSocket& socket : sockets) {
    CHECK(port(socket.name) != "0");
    CHECK(port(socket.name) == port(sockets.front().name));
    CHECK(socket.name == local_name(socket.fd.get()));
    CHECK(service_manager::is_stream_listener(socket.fd.get()));
    CHECK(is_nonblocking(socket.fd.get()));
    CHECK(closes_on_exec(socket.fd.get()));
  }
  CHECK(sockets.front().name.starts_with("127.0.0.1:"));
  if (sockets.size() == 2) CHECK(sockets.back().name.starts_with("[::1]:"));
}

TEST_CASE("socket address: a port in use is an error that names the address") {
  const ListeningSocket taken = listen_on_any_port();
  try {
    listen_on(parse_listen_address(taken.name));
    FAIL("two servers on one port");
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::address_in_use);
    CHECK(std::string(error.what()).find(taken.name) != std::string::npos);
  }
}

TEST_CASE("socket address: a port is free again as soon as its server has gone") {
  ListeningSocket first = listen_on_any_port();
  {
    // The server's end closes first, and so stays in TIME_WAIT.
    const UniqueFd client = connect_to(first.fd.get());
    const UniqueFd accepted = checked_fd(::accept(first.fd.get(), nullptr, nullptr), "accept");
    ::shutdown(accepted.get(), SHUT_RDWR);
  }
  const std::string name = first.name;
  first.fd.reset();
  CHECK(listen_on(parse_listen_address(name)).front().name == name);
}

TEST_CASE("socket address: an address this machine does not have") {
  CHECK_THROWS_AS(listen_on(parse_listen_address("192.0.2.1:0")), std::system_error);
}

TEST_CASE("socket address: of two hosts one suffices only where that was asked for") {
  ListenAddress address = parse_listen_address("127.0.0.1:0");
  address.hosts = {"192.0.2.1", "127.0.0.1"};
  CHECK_THROWS_AS(listen_on(address), std::system_error);
  address.any_host_suffices = true;
  CHECK(listen_on(address).size() == 1);
  address.hosts = {"192.0.2.1"};
  CHECK_THROWS_AS(listen_on(address), std::system_error);
}

TEST_CASE("socket address: a unix socket that a killed server left is replaced") {
  const TemporaryDirectory directory;
  const ListenAddress address = parse_listen_address(directory.file("socket"));
  {
    const auto first = listen_on(address);
    REQUIRE(first.size() == 1);
    CHECK(first.front().name == address.path);
    CHECK(local_name(first.front().fd.get()) == "unix:" + address.path);
    // While it is alive, nobody else gets it, and it stays reachable.
    CHECK_THROWS_AS(listen_on(address), std::system_error);
    CHECK(connect_to(first.front().fd.get()).valid());
    CHECK(::link(address.path.c_str(), directory.file("left").c_str()) == 0);
  }
  // As a server leaves it that is killed.
  REQUIRE(::rename(directory.file("left").c_str(), address.path.c_str()) == 0);
  const auto second = listen_on(address);
  CHECK(connect_to(second.front().fd.get()).valid());
}

TEST_CASE("socket address: the file of a unix socket goes with it, and no other does") {
  // Fails when the file outlives its socket, or another server's is removed in its place.
  const TemporaryDirectory directory;
  const ListenAddress address = parse_listen_address(directory.file("socket"));
  auto first = listen_on(address);
  ListeningSocket moved = std::move(first.front());
  first.clear();
  CHECK(::access(address.path.c_str(), F_OK) == 0);
  SUBCASE("it is ours") {
    moved = {};
    CHECK(::access(address.path.c_str(), F_OK) != 0);
  }
  SUBCASE("another one has taken its place") {
    ::unlink(address.path.c_str());
    const auto second = listen_on(address);
    moved = {};
    CHECK(connect_to(second.front().fd.get()).valid());
    CHECK(::access(address.path.c_str(), F_OK) == 0);
  }
}

TEST_CASE("socket address: a file that is no socket is left alone") {
  const TemporaryDirectory directory;
  std::ofstream(directory.file("socket")) << "precious";
  CHECK_THROWS_AS(listen_on(parse_listen_address(directory.file("socket"))), std::system_error);
  std::string text;
  std::ifstream(directory.file("socket")) >> text;
  CHECK(text == "precious");
}

TEST_CASE("socket address: a path that is too long for the kernel") {
  CHECK_THROWS_AS(listen_on(parse_listen_address("/tmp/" + std::string(200, 'x'))),
                  std::system_error);
}

TEST_CASE("socket address: an IPv4 client is the same on a socket for both families") {
  // Fails when ::ffff:127.0.0.1 and 127.0.0.1 are two peers with a limit each.
  const ListeningSocket four = listen_on_any_port();
  const UniqueFd both = checked_fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  const int off = 0;
  ::setsockopt(both.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  REQUIRE(::bind(both.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
  REQUIRE(::listen(both.get(), 1) == 0);
  sockaddr_in there{};
  socklen_t length = sizeof any;
  REQUIRE(::getsockname(both.get(), reinterpret_cast<sockaddr*>(&any), &length) == 0);
  there.sin_family = AF_INET;
  there.sin_port = any.sin6_port;
  there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const UniqueFd mapped = checked_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  REQUIRE(::connect(mapped.get(), reinterpret_cast<const sockaddr*>(&there), sizeof there) == 0);
  const UniqueFd plain = connect_to(four.fd.get());
  const UniqueFd by_six = checked_fd(::accept(both.get(), nullptr, nullptr), "accept");
  const UniqueFd by_four = checked_fd(::accept(four.fd.get(), nullptr, nullptr), "accept");
  CHECK((peer_key(by_six.get()) == peer_key(by_four.get())));
}

TEST_CASE("socket address: who is at the other end, whatever the port") {
  const ListeningSocket listener = listen_on_any_port();
  const UniqueFd one = connect_to(listener.fd.get());
  const UniqueFd accepted = checked_fd(::accept(listener.fd.get(), nullptr, nullptr), "accept");
  const UniqueFd two = connect_to(listener.fd.get());
  const UniqueFd also = checked_fd(::accept(listener.fd.get(), nullptr, nullptr), "accept");
  CHECK((peer_key(accepted.get()) == peer_key(also.get())));
  CHECK((peer_key(accepted.get()) != PeerKey()));
  const auto [local, other] = socket_pair();
  CHECK((peer_key(local.get()) == peer_key(other.get())));  // both are the same user's
  CHECK((peer_key(local.get()) != peer_key(accepted.get())));
  CHECK((peer_key(-1) == PeerKey()));
}

TEST_CASE("socket address: names for the log") {
  const ListeningSocket listener = listen_on_any_port();
  const UniqueFd client = connect_to(listener.fd.get());
  CHECK(peer_name(client.get()) == listener.name);
  CHECK(local_name(client.get()).starts_with("127.0.0.1:"));
  const auto [one, other] = socket_pair();
  const std::string us = "uid=" + std::to_string(::getuid()) +
                         " gid=" + std::to_string(::getgid()) +
                         " pid=" + std::to_string(::getpid());
  CHECK(peer_name(one.get()) == "unix " + us);
  CHECK(local_name(one.get()) == "unix");
  CHECK(peer_name(listener.fd.get()).empty());
  CHECK(local_name(-1).empty());
}

}  // namespace
}  // namespace pool_server
