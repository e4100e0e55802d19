#include "core/ip_address.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include "core/proxy_sources.h"

namespace pool_server {
namespace {

IpAddress ip(std::string_view text) {
  const auto address = parse_ip_address(text);
  REQUIRE(address.has_value());
  return *address;
}

TEST_CASE("IP addresses: read, written, and the same however they came") {
  CHECK(to_string(ip("192.0.2.1"), 80) == "192.0.2.1:80");
  CHECK(to_string(ip("2001:db8::0:1"), 0) == "[2001:db8::1]:0");
  CHECK((ip("::ffff:192.0.2.1") == ip("192.0.2.1")));
  CHECK((ip("::192.0.2.1") != ip("192.0.2.1")));
  for (const char* text : {"192.0.2.1", "::1", "2001:db8::1", "255.255.255.255"}) {
    CAPTURE(text);
    CHECK((ip_address(bytes_of(ip(text))) == ip(text)));
  }
  for (const char* text :
       {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", " 1.2.3.4", "1.2.3.4 ", "01.2.3.4", "localhost",
        "[::1]", "::1%lo", "fe80::1%1", ":::", "1.2.3.4:80"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_ip_address(text).has_value());
  }
  CHECK_FALSE(parse_ip_address(std::string_view("1.2.3.4\0", 8)).has_value());
  for (const std::size_t size : {0U, 1U, 3U, 5U, 15U, 17U}) {
    CHECK_FALSE(ip_address(std::string(size, '\1')).has_value());
  }
}

TEST_CASE("IP networks: so many bits count") {
  struct Row {
    const char* network;
    const char* address;
    bool contains;
  };
  const Row rows[] = {
      {"192.0.2.0/24", "192.0.2.255", true},
      {"192.0.2.0/24", "192.0.3.0", false},
      {"192.0.2.77/24", "192.0.2.1", true},
      {"192.0.2.128/25", "192.0.2.127", false},
      {"192.0.2.128/25", "192.0.2.128", true},
      {"192.0.2.1", "192.0.2.1", true},
      {"192.0.2.1", "192.0.2.0", false},
      {"0.0.0.0/0", "203.0.113.9", true},
      {"0.0.0.0/0", "::1", false},
      {"::/0", "192.0.2.1", false},
      {"2001:db8::/33", "2001:db8:7fff::1", true},
      {"2001:db8::/33", "2001:db8:8000::1", false},
      {"2001:db8::1/128", "2001:db8::1", true},
      {"2001:db8::1", "2001:db8::2", false},
      {"::ffff:192.0.2.0/120", "192.0.2.9", true},
      {"::ffff:192.0.2.0/120", "192.0.3.9", false},
      {"::ffff:0:0/96", "203.0.113.9", true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.network);
    CAPTURE(row.address);
    const auto network = parse_ip_network(row.network);
    REQUIRE(network.has_value());
    CHECK(network->contains(ip(row.address)) == row.contains);
  }
  for (const char* text :
       {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8 ",
        "10.0.0.0/8/8", "10/8", "::/129", "::ffff:10.0.0.0/95", "10.0.0.0/4294967304"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_ip_network(text).has_value());
  }
}

TEST_CASE("proxy sources: this machine, until some are named") {
  ProxySources sources;
  CHECK(sources.has(ip("127.1.2.3")));
  CHECK(sources.has(ip("::1")));
  CHECK(sources.has_unix());
  CHECK_FALSE(sources.has(ip("128.0.0.1")));
  CHECK_FALSE(sources.has(ip("::2")));
  CHECK_FALSE(sources.has(ip("::")));

  CHECK_THROWS_AS(sources.add("localhost"), std::invalid_argument);
  CHECK(sources.has_unix());  // a refused one changes nothing
  sources.add("10.0.0.0/8");
  sources.add("2001:db8::1");
  CHECK(sources.has(ip("10.9.9.9")));
  CHECK(sources.has(ip("2001:db8::1")));
  CHECK_FALSE(sources.has(ip("127.0.0.1")));
  CHECK_FALSE(sources.has_unix());
  sources.add("unix");
  CHECK(sources.has_unix());

  sources.clear();
  CHECK(sources.has(ip("127.0.0.1")));
  CHECK_FALSE(sources.has(ip("10.9.9.9")));
}

}  // namespace
}  // namespace pool_server
