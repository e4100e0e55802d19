#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pool_server {

// An IP address. An IPv4 address is the same one however it came: ::ffff:192.0.2.1 is 192.0.2.1.
struct IpAddress {
  enum class Version : std::uint8_t { kV4 = 4, kV6 = 6 };

  Version version = Version::kV4;
  std::array<unsigned char, 16> bytes{};  // in network order; an IPv4 address has the first four

  auto operator<=>(const IpAddress&) const = default;
};

// Of 4 or 16 bytes in network order; nullopt for any other number of them.
std::optional<IpAddress> ip_address(std::string_view bytes);
// The bytes that ip_address() makes the same address of.
std::string_view bytes_of(const IpAddress& address);

// "192.0.2.1" or "2001:db8::1", as inet_pton(3) has it: without a port, brackets or a scope.
std::optional<IpAddress> parse_ip_address(std::string_view text);
// "192.0.2.1:80", "[2001:db8::1]:80"
std::string to_string(const IpAddress& address, std::uint16_t port);

// All addresses that begin with the same bits.
struct IpNetwork {
  IpAddress address;
  unsigned bits = 32;

  bool contains(const IpAddress& other) const;
  bool operator==(const IpNetwork&) const = default;
};
// ADDRESS/BITS, or an ADDRESS alone. Of the address only so many bits count.
std::optional<IpNetwork> parse_ip_network(std::string_view text);

}  // namespace pool_server
