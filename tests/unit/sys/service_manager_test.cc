#include "sys/service_manager.h"

#include <doctest/doctest.h>
#include <netinet/in.h>

#include <sys/un.h>

#include <array>
#include <string>
#include <vector>

#include "support/descriptors.h"
#include "support/fake_manager.h"
#include "support/waiting.h"

namespace pool_server {
namespace {

TEST_CASE("service manager: only listening stream sockets can be served") {
  const TemporaryDirectory directory;
  const ListeningSocket tcp = listen_on_any_port();
  const auto local = listen_on(parse_listen_address(directory.file("socket")));
  CHECK(service_manager::is_stream_listener(tcp.fd.get()));
  CHECK(service_manager::is_stream_listener(local.front().fd.get()));

  const UniqueFd connected = connect_to(tcp.fd.get());
  const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto [reader, writer] = pipe_pair();
  CHECK_FALSE(service_manager::is_stream_listener(connected.get()));
  CHECK_FALSE(service_manager::is_stream_listener(udp.get()));
  CHECK_FALSE(service_manager::is_stream_listener(reader.get()));
  // Not "no": its clients would wait for ever.
  CHECK_THROWS(service_manager::is_stream_listener(-1));
}

TEST_CASE("service manager: without one all is silent") {
  const ScopedVariable no_socket("NOTIFY_SOCKET", std::nullopt);
  const ScopedVariable no_fds("LISTEN_FDS", std::nullopt);
  const ScopedVariable no_watchdog("WATCHDOG_USEC", std::nullopt);
  CHECK_FALSE(service_manager::is_listening());
  CHECK(service_manager::take_passed_fds().empty());
  CHECK_FALSE(service_manager::watchdog_interval().has_value());
  service_manager::notify("READY=1");
  CHECK(service_manager::flush());
}

TEST_CASE("service manager: takes the sockets that are passed, with their names") {
  const ListeningSocket listener = listen_on_any_port();
  const UniqueFd blocking(::socket(AF_INET, SOCK_STREAM, 0));
  const ScopedRedirection third(3, listener.fd.get());
  const ScopedRedirection fourth(4, blocking.get());
  const ScopedVariable pid("LISTEN_PID", std::to_string(::getpid()));
  const ScopedVariable count("LISTEN_FDS", "2");
  const ScopedVariable names("LISTEN_FDNAMES", "http:extra");
  {
    const auto passed = service_manager::take_passed_fds();
    REQUIRE(passed.size() == 2);
    CHECK(passed[0].name == "http");
    CHECK(passed[1].name == "extra");
    CHECK(local_name(passed[0].fd.get()) == listener.name);
    for (const auto& [fd, name] : passed) {
      CHECK(closes_on_exec(fd.get()));
    }
  }
  CHECK_FALSE(is_open(3));  // they were ours
  CHECK_FALSE(is_open(4));
  CHECK(service_manager::take_passed_fds().empty());  // and are not announced again
}

TEST_CASE("service manager: what is passed to another process is not taken") {
  const ScopedVariable pid("LISTEN_PID", std::to_string(::getpid() + 1));
  const ScopedVariable count("LISTEN_FDS", "1");
  CHECK(service_manager::take_passed_fds().empty());
}

TEST_CASE("service manager: an announcement that makes no sense is an error") {
  const ScopedVariable pid("LISTEN_PID", std::to_string(::getpid()));
  const ScopedVariable count("LISTEN_FDS", "many");
  CHECK_THROWS(service_manager::take_passed_fds());
}

TEST_CASE("service manager: an announcement of more than was passed is an error") {
  const ListeningSocket listener = listen_on_any_port();
  const ScopedRedirection third(3, listener.fd.get());
  const ScopedVariable pid("LISTEN_PID", std::to_string(::getpid()));
  const ScopedVariable count("LISTEN_FDS", "1000000");
  CHECK_THROWS(service_manager::take_passed_fds());
  CHECK(is_open(3));
}

TEST_CASE("service manager: what cannot be made non-blocking is passed all the same") {
  const UniqueFd nothing(::open("/", O_PATH | O_CLOEXEC));
  const ScopedRedirection third(3, nothing.get());
  const ScopedVariable pid("LISTEN_PID", std::to_string(::getpid()));
  const ScopedVariable count("LISTEN_FDS", "1");
  auto passed = service_manager::take_passed_fds();
  REQUIRE(passed.size() == 1);
  CHECK_FALSE(service_manager::is_stream_listener(passed[0].fd.get()));
}

TEST_CASE("service manager: is told") {
  FakeManager manager;
  CHECK(service_manager::is_listening());
  service_manager::notify("READY=1");
  service_manager::notify("STATUS=fine");
  CHECK(eventually([&] { return manager.heard().size() == 2; }));
  CHECK(manager.heard() == std::vector<std::string>{"READY=1", "STATUS=fine"});
}

TEST_CASE("service manager: keeps a descriptor by its name") {
  FakeManager manager;
  const auto [reader, writer] = pipe_pair();
  CHECK(service_manager::store_fd(writer.get(), "a-name", /*timeout=*/10'000'000));
  // It has been dealt with by now: that is what was waited for.
  const auto stored = manager.take_stored();
  REQUIRE(stored.size() == 1);
  CHECK(::write(stored.front().get(), "x", 1) == 1);
  char byte = 0;
  CHECK(::read(reader.get(), &byte, 1) == 1);
  CHECK(manager.heard().front().find("FDNAME=a-name") != std::string::npos);
  service_manager::remove_stored_fds("a-name");
  CHECK(eventually(
      [&] { return manager.heard().back().find("FDSTOREREMOVE=1") != std::string::npos; }));
}

TEST_CASE("service manager: a manager that has gone is no error") {
  const TemporaryDirectory directory;
  const ScopedVariable socket("NOTIFY_SOCKET", directory.file("socket"));
  service_manager::notify("READY=1");
}

TEST_CASE("service manager: the watchdog's interval, when it is meant for this process") {
  const ScopedVariable usec("WATCHDOG_USEC", "2000000");
  const ScopedVariable pid("WATCHDOG_PID", std::to_string(::getpid()));
  CHECK(service_manager::watchdog_interval() == 2'000'000);
  const ScopedVariable other("WATCHDOG_PID", std::to_string(::getpid() + 1));
  CHECK_FALSE(service_manager::watchdog_interval().has_value());
}

TEST_CASE("service manager: an interval that no clock can count is none that is over at once") {
  const ScopedVariable pid("WATCHDOG_PID", std::to_string(::getpid()));
  for (const char* text : {"9223372036854775807", "9223372036854775808", "18446744073709551614"}) {
    const ScopedVariable usec("WATCHDOG_USEC", text);
    CHECK(service_manager::watchdog_interval() == 9223372036854775807);
  }
  for (const char* text : {"18446744073709551616", "-1", "nonsense", "0"}) {
    const ScopedVariable usec("WATCHDOG_USEC", text);
    CHECK_FALSE(service_manager::watchdog_interval().has_value());
  }
}

TEST_CASE("service manager: a barrier that is not answered costs its time, and leaves nothing") {
  const TemporaryDirectory directory;
  const UniqueFd manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  directory.file("socket").copy(name.sun_path, sizeof name.sun_path - 1);
  REQUIRE(::bind(manager.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  const ScopedVariable variable("NOTIFY_SOCKET", directory.file("socket"));
  CHECK_FALSE(service_manager::store_fd(STDIN_FILENO, "a-name", /*timeout=*/20'000));
  std::vector<std::string> heard;
  std::array<char, 100> text{};
  for (ssize_t size; (size = ::recv(manager.get(), text.data(), text.size(), MSG_DONTWAIT)) >= 0;) {
    heard.emplace_back(text.data(), static_cast<std::size_t>(size));
  }
  CHECK(heard == std::vector<std::string>{"FDSTORE=1\nFDPOLL=0\nFDNAME=a-name", "BARRIER=1",
                                          "FDSTOREREMOVE=1\nFDNAME=a-name"});
  const NoDescriptorsLeft none;
  CHECK_FALSE(service_manager::store_fd(STDIN_FILENO, "a-name", /*timeout=*/20'000));
  CHECK(::recv(manager.get(), text.data(), text.size(), MSG_DONTWAIT) == -1);
}

}  // namespace
}  // namespace pool_server
