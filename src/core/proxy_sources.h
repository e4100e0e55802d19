#pragma once

#include <string>
#include <vector>

#include "core/ip_address.h"

namespace pool_server {

// The proxies that are believed: who connects from there must begin with a header (see
// core/proxy_header.h). As long as none is named, those of this machine: its loopback addresses and
// its unix sockets, whose files say who may connect.
class ProxySources {
 public:
  // ADDRESS, ADDRESS/BITS, or "unix". Throws std::invalid_argument with a message for the user.
  void add(const std::string& text);
  void clear() { *this = ProxySources(); }

  bool has(const IpAddress& address) const;
  bool has_unix() const { return !named_ || unix_; }

 private:
  bool named_ = false;
  bool unix_ = false;
  std::vector<IpNetwork> networks_;
};

}  // namespace pool_server
