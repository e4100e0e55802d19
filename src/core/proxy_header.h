#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/ip_address.h"

namespace pool_server {

// What a proxy says before the first byte of its client's: who that client is. Versions 1 and 2 of
// "The PROXY protocol" (HAProxy's doc/proxy-protocol.txt), as a receiver of TCP connections.
struct ProxyHeader {
  // The client; nullopt: the proxy speaks for itself (LOCAL), or cannot tell (UNKNOWN, UNSPEC, a
  // unix socket, a datagram), and the connection's own address counts.
  std::optional<IpAddress> client;
  std::uint16_t port = 0;
  std::size_t size = 0;  // bytes that it takes; what follows is the client's
};

// Bytes, of a header of any version. What the protocol has beyond addresses is some hundred bytes,
// of which the names of certificates are the most.
inline constexpr std::size_t kLongestProxyHeader = 4096;

enum class ProxyHeaderState : unsigned char { kIncomplete, kComplete, kInvalid };

// Reads the header that `input` begins with, and writes to `header` once it is complete. Whatever
// else it is, is told as soon as a byte shows it: kIncomplete is never said of more than
// kLongestProxyHeader bytes. An empty input is incomplete.
ProxyHeaderState read_proxy_header(std::string_view input, ProxyHeader& header);

}  // namespace pool_server
