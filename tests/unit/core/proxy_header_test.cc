#include "core/proxy_header.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace pool_server {
namespace {

using State = ProxyHeaderState;

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string big_endian(unsigned value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}

// A header of version 2, with `rest` behind its fixed part.
std::string version_2(unsigned command, unsigned family, const std::string& rest) {
  return kSignature + static_cast<char>(command) + static_cast<char>(family) +
         big_endian(static_cast<unsigned>(rest.size())) + rest;
}

const std::string kV4 = std::string("\xc0\0\2\1\xcb\0\x71\7", 8) + big_endian(4711) +
                        big_endian(80);  // from 192.0.2.1, to 203.0.113.7
const std::string kV6 = std::string("\x20\1\x0d\xb8", 4) + std::string(11, '\0') + "\1" +
                        std::string(15, '\0') + "\1" + big_endian(65535) + big_endian(1);

// Of a complete header: who it tells of, "-" for nobody; else what it is.
std::string told(std::string_view input) {
  ProxyHeader header;
  switch (read_proxy_header(input, header)) {
    case State::kIncomplete:
      return "incomplete";
    case State::kInvalid:
      return "invalid";
    case State::kComplete:
      break;
  }
  CHECK(header.size <= input.size());
  return header.client ? to_string(*header.client, header.port) : "-";
}

// It tells that of `header`, and the same when a client's bytes follow; and of no part of it
// anything.
void check(const std::string& header, const std::string& who) {
  CAPTURE(header);
  CHECK(told(header) == who);
  CHECK(told(header + "good data\nPROXY x\r\n") == who);
  ProxyHeader read;
  REQUIRE(read_proxy_header(header + "more", read) == State::kComplete);
  CHECK(read.size == header.size());
  for (std::size_t size = 0; size < header.size(); ++size) {
    CAPTURE(size);
    CHECK(told(header.substr(0, size)) == "incomplete");
  }
}

TEST_CASE("PROXY header: version 1") {
  check("PROXY TCP4 192.0.2.1 203.0.113.7 4711 80\r\n", "192.0.2.1:4711");
  check("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535");
  check("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0");
  check("PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", "[2001:db8::1]:4711");
  check("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1");
  check("PROXY UNKNOWN\r\n", "-");
  check("PROXY UNKNOWN whatever it says\r\n", "-");
  const std::string longest =
      "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
      " ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
  CHECK(longest.size() == 107);
  check(longest, "-");
}

TEST_CASE("PROXY header: what is not exactly version 1 is none") {
  for (const char* line : {"PROXY TCP4 192.0.2.1 203.0.113.7 4711 80\n",
                           "PROXY TCP4 192.0.2.1 203.0.113.7 4711\r\n",
                           "PROXY TCP4 192.0.2.1 203.0.113.7 4711 80 \r\n",
                           "PROXY TCP4 192.0.2.1 203.0.113.7 4711 80 1\r\n",
                           "PROXY TCP4  192.0.2.1 203.0.113.7 4711 80\r\n",
                           "PROXY TCP4 192.0.2.1 203.0.113.7 4711 80\r\r\n",
                           "PROXY TCP4 192.0.2.1 203.0.113.7 65536 80\r\n",
                           "PROXY TCP4 192.0.2.1 203.0.113.7 04711 80\r\n",
                           "PROXY TCP4 192.0.2.1 203.0.113.7 -1 80\r\n",
                           "PROXY TCP4 192.0.2.1 203.0.113.7 +1 80\r\n",
                           "PROXY TCP4 192.0.2.1 203.0.113.7 1 x\r\n",
                           "PROXY TCP4 192.0.2.256 203.0.113.7 4711 80\r\n",
                           "PROXY TCP4 ::1 ::1 4711 80\r\n",
                           "PROXY TCP6 192.0.2.1 203.0.113.7 4711 80\r\n",
                           "PROXY TCP5 ::1 ::1 1 1\r\n",
                           "PROXY tcp4 192.0.2.1 203.0.113.7 4711 80\r\n",
                           "PROXY TCP4\r\n",
                           "PROXY \r\n",
                           "PROXY UNKNOWNS\r\n",
                           "PROXY\r\n",
                           "proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
                           "PROXY UNKNOWN a\rb\r\n",
                           "PROXY UNKNOWN\n",
                           "good data\n",
                           "\n",
                           "\r\n\r\n\r\n"}) {
    CAPTURE(line);
    CHECK(told(line) == "invalid");
  }
  // As soon as it shows.
  CHECK(told("G") == "invalid");
  CHECK(told("PROXX") == "invalid");
  CHECK(told("PROXY UNKNOWN\rx") == "invalid");
  const std::string endless = "PROXY UNKNOWN " + std::string(200, 'x');
  CHECK(told(endless.substr(0, 106)) == "incomplete");
  CHECK(told(endless.substr(0, 107)) == "invalid");
  CHECK(told(endless + "\r\n") == "invalid");
}

TEST_CASE("PROXY header: version 2") {
  check(version_2(0x21, 0x11, kV4), "192.0.2.1:4711");
  check(version_2(0x21, 0x21, kV6), "[2001:db8::1]:65535");
  check(version_2(0x21, 0x11, kV4 + "\x04" + big_endian(3) + "TLV"), "192.0.2.1:4711");
  check(version_2(0x21, 0x11, kV4 + "not a TLV"), "192.0.2.1:4711");
  const std::string mapped = std::string(10, '\0') + "\xff\xff" + std::string("\xc0\0\2\1", 4);
  check(version_2(0x21, 0x21, mapped + mapped + kV6.substr(32)), "192.0.2.1:65535");
  // Those that tell of no client.
  check(version_2(0x20, 0x00, ""), "-");
  check(version_2(0x20, 0x11, kV4), "-");
  check(version_2(0x20, 0x11, "skipped"), "-");
  check(version_2(0x20, 0xff, ""), "-");
  check(version_2(0x21, 0x00, ""), "-");
  check(version_2(0x21, 0x00, "skipped"), "-");
  check(version_2(0x21, 0x01, ""), "-");
  check(version_2(0x21, 0x10, ""), "-");
  check(version_2(0x21, 0x12, kV4), "-");
  check(version_2(0x21, 0x31, std::string(216, '/')), "-");
}

TEST_CASE("PROXY header: what is not version 2 is none") {
  CHECK(told(version_2(0x11, 0x11, kV4)) == "invalid");
  CHECK(told(version_2(0x31, 0x11, kV4)) == "invalid");
  CHECK(told(version_2(0x22, 0x11, kV4)) == "invalid");
  CHECK(told(version_2(0x2f, 0x11, kV4)) == "invalid");
  CHECK(told(version_2(0x21, 0x41, kV6)) == "invalid");
  CHECK(told(version_2(0x21, 0x13, kV4)) == "invalid");
  CHECK(told(version_2(0x21, 0x11, kV4.substr(1))) == "invalid");
  CHECK(told(version_2(0x21, 0x21, kV4)) == "invalid");
  CHECK(told(version_2(0x21, 0x31, std::string(215, '/'))) == "invalid");
  CHECK(told(version_2(0x21, 0x12, "")) == "invalid");
  // As soon as it shows.
  CHECK(told(kSignature + "\x11") == "invalid");
  CHECK(told(kSignature + "\x21\x41") == "invalid");
  CHECK(told(kSignature + "\x21\x11" + big_endian(11)) == "invalid");
  CHECK(told("\r\n\r\r") == "invalid");
  // No longer than is promised.
  const std::string rest(kLongestProxyHeader - 16, 'x');
  CHECK(told(version_2(0x20, 0, rest)) == "-");
  CHECK(told(version_2(0x20, 0, rest + "x").substr(0, 16)) == "invalid");
}

}  // namespace
}  // namespace pool_server
