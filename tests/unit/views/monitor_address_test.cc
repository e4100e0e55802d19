#include "views/monitor_address.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

namespace pool_server::views {
namespace {

TEST_CASE("monitor address: hosts and sockets") {
  for (const char* text : {"localhost:9101", "127.0.0.1:1", "[::1]:65535", "db-1.example.org:80"}) {
    const MonitorAddress address = parse_monitor_address(text);
    CHECK(address.authority == text);
    CHECK(address.path.empty());
  }
  for (const char* text : {"/run/pool-server/monitor.sock", "./socket", "/a:1"}) {
    const MonitorAddress address = parse_monitor_address(text);
    CHECK(address.authority == "localhost");
    CHECK(address.path == text);
  }
}

TEST_CASE("monitor address: nothing else, and nothing that means something in a URL") {
  for (const char* text : {"",
                           "9101",
                           "localhost",
                           "localhost:",
                           ":9101",
                           "localhost:0",
                           "localhost:65536",
                           "localhost:+1",
                           "localhost: 1",
                           "localhost:123456",
                           "::1:9101",
                           "[::1]",
                           "[]:1",
                           "[::1:1",
                           "[g::]:1",
                           "user@host:1",
                           "user:secret@host:1",
                           "host?:1",
                           "host#:1",
                           "ho st:1",
                           "host\n:1",
                           "%61:1",
                           "[fe80::1%eth0]:1",
                           "http://localhost:9101",
                           "http:/socket"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_monitor_address(text), std::invalid_argument);
  }
}

TEST_CASE("monitor address: a complaint has no control characters") {
  try {
    (void)parse_monitor_address("\x1B[2J");
    FAIL("it is no address");
  } catch (const std::invalid_argument& fault) {
    CHECK(std::string(fault.what()).find('\x1B') == std::string::npos);
  }
}

}  // namespace
}  // namespace pool_server::views
