#include "core/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <system_error>

namespace pool_server {

namespace {

constexpr std::size_t kV4Size = 4;
constexpr std::size_t kV6Size = 16;
constexpr unsigned kMappedBits = 96;  // ::ffff:0:0/96 is where IPv6 has the IPv4 addresses

bool is_v4(const IpAddress& address) {
  return address.version == IpAddress::Version::kV4;
}

}  // namespace

std::optional<IpAddress> ip_address(std::string_view bytes) {
  static constexpr std::string_view kMapped("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
  if (bytes.size() == kV6Size && bytes.starts_with(kMapped)) bytes.remove_prefix(kMapped.size());
  if (bytes.size() != kV4Size && bytes.size() != kV6Size) return std::nullopt;
  IpAddress address;
  if (bytes.size() == kV6Size) address.version = IpAddress::Version::kV6;
  std::ranges::copy(bytes, address.bytes.begin());
  return address;
}

std::string_view bytes_of(const IpAddress& address) {
  return {reinterpret_cast<const char*>(address.bytes.data()), is_v4(address) ? kV4Size : kV6Size};
}

std::optional<IpAddress> parse_ip_address(std::string_view text) {
  const std::string terminated(text);
  if (terminated.find('\0') != std::string::npos) return std::nullopt;
  std::array<char, kV6Size> bytes;
  if (::inet_pton(AF_INET, terminated.c_str(), bytes.data()) == 1) {
    return ip_address({bytes.data(), kV4Size});
  }
  if (::inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) {
    return ip_address({bytes.data(), kV6Size});
  }
  return std::nullopt;
}

std::string to_string(const IpAddress& address, std::uint16_t port) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = is_v4(address) ? AF_INET : AF_INET6;
  (void)::inet_ntop(family, address.bytes.data(), text.data(), text.size());
  std::string result;
  if (!is_v4(address)) result += '[';
  result += text.data();
  if (!is_v4(address)) result += ']';
  result += ':';
  return result += std::to_string(port);
}

bool IpNetwork::contains(const IpAddress& other) const {
  if (other.version != address.version) return false;
  unsigned left = bits;
  for (std::size_t i = 0; left > 0; ++i) {
    const unsigned here = std::min(left, 8U);
    const unsigned differing = address.bytes[i] ^ other.bytes[i];
    if ((differing >> (8 - here)) != 0) return false;
    left -= here;
  }
  return true;
}

std::optional<IpNetwork> parse_ip_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  const auto address = parse_ip_address(host);
  if (!address) return std::nullopt;
  const unsigned most = is_v4(*address) ? 32 : 128;
  IpNetwork network{.address = *address, .bits = most};
  if (slash == std::string_view::npos) return network;
  // An IPv4 address written as an IPv6 one has its bits counted as such.
  const unsigned before =
      is_v4(*address) && host.find(':') != std::string_view::npos ? kMappedBits : 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + slash + 1, end, network.bits);
  if (error != std::errc() || rest != end) return std::nullopt;
  if (network.bits < before || network.bits - before > most) return std::nullopt;
  network.bits -= before;
  return network;
}

}  // namespace pool_server
