#include "net/proxied_client.h"

#include <algorithm>

namespace pool_server {

ProxyHeaderState ProxiedClient::take(std::string_view& input) {
  const std::size_t before = begun_.size();
  const std::size_t most = kLongestProxyHeader - std::min(before, kLongestProxyHeader);
  begun_.append(input.substr(0, most));
  const ProxyHeaderState state = read_proxy_header(begun_, header_);
  known_ = state == ProxyHeaderState::kComplete;
  // Of a header that was not complete before, some is new.
  const std::size_t taken = known_ ? header_.size - before : begun_.size() - before;
  input.remove_prefix(taken);
  if (state != ProxyHeaderState::kIncomplete) std::string().swap(begun_);
  return state;
}

PeerKey ProxiedClient::key() const {
  PeerKey key;
  const bool v4 = header_.client->version == IpAddress::Version::kV4;
  key.kind = v4 ? PeerKey::Kind::kIpv4 : PeerKey::Kind::kIpv6;
  key.bytes = header_.client->bytes;
  return key;
}

std::string ProxiedClient::name() const {
  return to_string(*header_.client, header_.port);
}

void ProxiedClient::carry(CarriedConnection& to) const {
  to.proxied = known_ ? CarriedConnection::Proxied::kClientKnown
                      : CarriedConnection::Proxied::kHeaderAwaited;
  to.client = known_ ? std::string(bytes_of(*header_.client)) : begun_;
  to.client_port = header_.port;
}

void ProxiedClient::restore(const CarriedConnection& from) {
  known_ = from.proxied == CarriedConnection::Proxied::kClientKnown;
  if (known_) {
    header_.client = ip_address(from.client);
    header_.port = from.client_port;
  } else {
    begun_ = from.client;
  }
}

}  // namespace pool_server
