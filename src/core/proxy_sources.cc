#include "core/proxy_sources.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace pool_server {

namespace {

bool is_loopback(const IpAddress& address) {
  if (address.version == IpAddress::Version::kV4) return address.bytes[0] == 127;
  std::array<unsigned char, 16> localhost{};
  localhost.back() = 1;
  return address.bytes == localhost;
}

}  // namespace

void ProxySources::add(const std::string& text) {
  if (text == "unix") {
    unix_ = true;
  } else if (const auto network = parse_ip_network(text)) {
    networks_.push_back(*network);
  } else {
    throw std::invalid_argument("'" + text + "' is no ADDRESS, ADDRESS/BITS or unix");
  }
  named_ = true;
}

bool ProxySources::has(const IpAddress& address) const {
  if (!named_) return is_loopback(address);
  return std::ranges::any_of(networks_,
                             [&](const IpNetwork& network) { return network.contains(address); });
}

}  // namespace pool_server
