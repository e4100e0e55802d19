#include "sys/notify_socket.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "support/descriptors.h"
#include "sys/clock.h"

namespace pool_server {
namespace {

// A manager that reads when it is told to.
class Manager {
 public:
  explicit Manager(const std::string& address) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, address.data(), address.size());
    if (address.front() == '@') name.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
    if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0) {
      throw_errno("bind");
    }
  }
  // All that is there.
  std::vector<std::string> read() {
    std::vector<std::string> heard;
    std::array<char, 1024> text{};
    for (ssize_t size; (size = ::recv(socket_.get(), text.data(), text.size(), 0)) >= 0;) {
      heard.emplace_back(text.data(), static_cast<std::size_t>(size));
    }
    return heard;
  }

 private:
  UniqueFd socket_ =
      checked_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "");
};

// Sends until the manager's queue is full; returns how many it took.
std::size_t fill(NotifySocket& socket) {
  std::size_t taken = 0;
  while (socket.flush()) {
    REQUIRE(++taken < 1'000'000);
    socket.send("STATUS=" + std::to_string(taken));
  }
  return taken - 1;
}

TEST_CASE("notify socket: paths and abstract names reach the manager") {
  const TemporaryDirectory directory;
  for (const std::string& address :
       {directory.file("socket"), "@pool-server-test-" + std::to_string(::getpid())}) {
    CAPTURE(address);
    Manager manager(address);
    NotifySocket socket(address);
    socket.send("READY=1");
    CHECK(manager.read() == std::vector<std::string>{"READY=1"});
  }
}

TEST_CASE("notify socket: what is no address is told from one, to the byte") {
  CHECK(NotifySocket::is_address("/" + std::string(106, 'x')));
  CHECK_FALSE(NotifySocket::is_address("/" + std::string(107, 'x')));
  CHECK(NotifySocket::is_address("@" + std::string(107, 'x')));
  CHECK_FALSE(NotifySocket::is_address("@" + std::string(108, 'x')));
  for (const char* text : {"", "/", "@", "nonsense", "vsock:2:1"}) {
    CAPTURE(text);
    CHECK_FALSE(NotifySocket::is_address(text));
    NotifySocket socket(text);
    socket.send("READY=1");
    CHECK(socket.flush());
  }
}

TEST_CASE("notify socket: a manager that does not read is not waited for, and misses nothing") {
  const TemporaryDirectory directory;
  Manager manager(directory.file("socket"));
  NotifySocket socket(directory.file("socket"));
  const std::size_t taken = fill(socket);
  for (const char* state : {"RELOADING=1\nMONOTONIC_USEC=1", "READY=1", "WATCHDOG=1", "STATUS=old",
                            "RELOADING=1\nMONOTONIC_USEC=2", "READY=1", "WATCHDOG=1", "STATUS=new",
                            "FDSTOREREMOVE=1\nFDNAME=a", "FDSTOREREMOVE=1\nFDNAME=b"}) {
    socket.send(state);
  }
  CHECK_FALSE(socket.flush());
  CHECK(manager.read().size() == taken);
  CHECK(socket.flush());
  CHECK(manager.read() == std::vector<std::string>{"RELOADING=1\nMONOTONIC_USEC=2", "READY=1",
                                                   "WATCHDOG=1", "STATUS=new",
                                                   "FDSTOREREMOVE=1\nFDNAME=a",
                                                   "FDSTOREREMOVE=1\nFDNAME=b"});
}

TEST_CASE(
    "notify socket: a descriptor is waited for until its time is up, and comes after the rest") {
  const TemporaryDirectory directory;
  Manager manager(directory.file("socket"));
  NotifySocket socket(directory.file("socket"));
  const std::size_t taken = fill(socket);
  socket.send("STOPPING=1");
  const std::int64_t begin = monotonic_now();
  CHECK_FALSE(socket.send_with_fd("FDSTORE=1", STDIN_FILENO, begin + 50'000));
  CHECK(monotonic_now() - begin >= 50'000);
  CHECK(manager.read().size() == taken);
  CHECK(socket.send_with_fd("FDSTORE=1", STDIN_FILENO, monotonic_now() + 10'000'000));
  const auto heard = manager.read();
  REQUIRE(heard.size() == 3);
  CHECK(heard[1] == "STOPPING=1");
  CHECK(heard[2] == "FDSTORE=1");
}

TEST_CASE("notify socket: needs no descriptor once it is made") {
  const TemporaryDirectory directory;
  Manager manager(directory.file("socket"));
  NotifySocket socket(directory.file("socket"));
  const NoDescriptorsLeft none;
  socket.send("WATCHDOG=1");
  CHECK(manager.read().size() == 1);
}

TEST_CASE("notify socket: a manager that has gone is not waited for; a new one is told all") {
  const TemporaryDirectory directory;
  NotifySocket socket(directory.file("socket"));
  socket.send("READY=1");
  CHECK(socket.flush());
  CHECK_FALSE(socket.send_with_fd("FDSTORE=1", STDIN_FILENO, monotonic_now() + 10'000'000));
  Manager manager(directory.file("socket"));
  socket.send("STATUS=here");
  CHECK(manager.read() == std::vector<std::string>{"READY=1", "STATUS=here"});
  CHECK(socket.flush());
  CHECK(manager.read().empty());
}

}  // namespace
}  // namespace pool_server
