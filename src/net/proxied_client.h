#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/ip_address.h"
#include "core/proxy_header.h"
#include "core/snapshot.h"
#include "sys/socket_address.h"

namespace pool_server {

// The client of a connection that comes through a proxy: its header comes before all else, and says
// who that is. Loop thread only.
class ProxiedClient {
 public:
  bool known() const { return known_; }

  // Takes off `input` what it has of the header, until that is complete.
  ProxyHeaderState take(std::string_view& input);
  // Some of a header is here, and not all.
  bool has_begun() const { return !begun_.empty(); }
  std::size_t bytes_held() const { return begun_.size(); }
  // After a complete header: it tells of a client, and not that the proxy speaks for itself.
  bool is_told() const { return header_.client.has_value(); }

  // Once known, and told.
  PeerKey key() const;
  std::string name() const;  // "192.0.2.1:4711"

  void carry(CarriedConnection& to) const;
  void restore(const CarriedConnection& from);

 private:
  std::string begun_;
  ProxyHeader header_;
  bool known_ = false;
};

}  // namespace pool_server
