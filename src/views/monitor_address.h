#pragma once

#include <string>

namespace pool_server::views {

// Where a server can be watched.
struct MonitorAddress {
  std::string text;       // as the user gave it
  std::string authority;  // of the URL: "localhost", "127.0.0.1:9101", "[::1]:9101"
  std::string path;       // of a unix socket; empty: TCP

  static constexpr const char* kDefault = "/run/pool-server/monitor.sock";
};

// Parses HOST:PORT, [IPv6]:PORT or the path of a unix socket, which has a slash. Throws
// std::invalid_argument with a message for the user.
MonitorAddress parse_monitor_address(const std::string& text);

}  // namespace pool_server::views
