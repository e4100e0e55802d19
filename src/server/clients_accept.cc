// The door of Clients: who is let in, who is turned away, and what happens when nobody can be.

#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "core/protocol.h"
#include "server/clients.h"
#include "server/log.h"
#include "sys/socket_address.h"

namespace pool_server {

namespace {

// How long newcomers wait when there is no descriptor for them and no client leaves.
constexpr TimeUs kRetryAccept = 500'000;
// So many refused clients at once get the time to read why.
constexpr std::size_t kLingeringRefusals = 64;

}  // namespace

void Clients::listen(std::vector<ListeningSocket> sockets) {
  for (ListeningSocket& socket : sockets) {
    listeners_.push_back(std::make_unique<Listener>(std::move(socket), loop(), *this));
    log::write(LogLevel::kInfo, "listening", {},
               fmt::format("listening on {}", listeners_.back()->name()));
  }
}

void Clients::on_accepted(Listener& listener, UniqueFd socket) {
  if (std::exchange(listener.failure_told, false)) {
    log::attempt([&] {
      log::write(LogLevel::kInfo, "accept-resumed", {},
                 fmt::format("accepting connections on {} again", listener.name()));
    });
  }
  if (std::exchange(accept_failure_logged_, false)) {
    log::attempt(
        [] { log::write(LogLevel::kInfo, "accept-resumed", {}, "accepting connections again"); });
  }
  try {
    const bool proxied = is_proxy(socket.get());
    if (served() >= options_.max_connections) {
      refuse(std::move(socket), protocol::kTooManyConnections);
      return;
    }
    if (!proxied && counts_peers_ && is_one_too_many(peer_key(socket.get()))) {
      refuse(std::move(socket), protocol::kTooManyFromPeer);
      return;
    }
    Connection& connection = let_in(std::move(socket));
    connection.set_serial(++counters_.accepted);
    connection.attempt([&] {
      if (proxied) {
        connection.expect_header();
      } else {
        count_peer(connection);
        greet(connection);
      }
    });
  } catch (const std::system_error& error) {  // no memory for it in the kernel
    on_no_resources(error.code().value());
  } catch (const std::bad_alloc&) {
    on_no_resources(ENOMEM);
  }
}

Connection& Clients::let_in(UniqueFd&& socket) {
  admission_.expect_slots(connections_.slots() + 1);
  return connections_.add(std::move(socket), *this);
}

bool Clients::is_proxy(int socket) const {
  if (!options_.proxy_protocol) return false;
  const PeerKey peer = peer_key(socket);
  switch (peer.kind) {
    case PeerKey::Kind::kUnknown:
      return false;
    case PeerKey::Kind::kUser:
      return options_.proxy_sources.has_unix();
    case PeerKey::Kind::kIpv4:
      return options_.proxy_sources.has({IpAddress::Version::kV4, peer.bytes});
    case PeerKey::Kind::kIpv6:
      return options_.proxy_sources.has({IpAddress::Version::kV6, peer.bytes});
  }
  return false;
}

void Clients::count_peer(Connection& connection) {
  if (counts_peers_) peers_.add(connection.id().slot, connection.peer_key());
}

bool Clients::is_one_too_many(const PeerKey& peer) const {
  return peers_.count(peer) >= options_.max_connections_per_peer;
}

void Clients::greet(Connection& connection) {
  const LogLevel level = options_.log_connections ? LogLevel::kInfo : LogLevel::kDebug;
  if (!log::enabled(level)) return;
  const std::string peer = connection.peer();
  const std::string proxy = connection.is_proxied() ? peer_name(connection.descriptor()) : "";
  log::write(level, "connected",
             {{"POOL_SERVER_CONNECTION", id_of(connection)}, {"POOL_SERVER_PEER", peer}},
             fmt::format("connection {} from {}{}{}", connection.serial(), peer,
                         proxy.empty() ? "" : ", through ", proxy));
}

void Clients::on_client_known(Connection& connection) {
  if (counts_peers_ && is_one_too_many(connection.peer_key())) {
    turn_away(connection, protocol::kTooManyFromPeer);
    return;
  }
  count_peer(connection);
  greet(connection);
}

void Clients::on_bad_header(Connection& connection) {
  const std::string peer = connection.peer();
  bid_farewell(connection, protocol::kNoProxyHeader);
  log::write(LogLevel::kWarning, "proxy-header-invalid",
             {{"POOL_SERVER_CONNECTION", id_of(connection)}, {"POOL_SERVER_PEER", peer}},
             fmt::format("refusing connection {}: what comes from {}, a proxy, begins with no "
                         "valid PROXY header",
                         connection.serial(), peer));
}

// A newcomer over a limit is told so, rather than left in the backlog to wonder.
void Clients::refuse(UniqueFd socket, std::string_view reason) {
  Connection& connection = connections_.add(std::move(socket), *this);
  connection.attempt([&] { turn_away(connection, reason); });
}

void Clients::turn_away(Connection& connection, std::string_view reason) {
  const std::string peer = connection.peer();
  bid_farewell(connection, reason);  // first: it is not one of those that are open
  log::write(LogLevel::kWarning, "connection-limit", {{"POOL_SERVER_PEER", peer}},
             fmt::format("refusing connections, {} are open, this one from {}: {}", served(), peer,
                         reason));
}

// It hears why it is not served, and counts as no client any more.
void Clients::bid_farewell(Connection& connection, std::string_view reason) {
  std::string text;
  protocol::append_reply(Outcome::kError, reason, text);
  ++counters_.refused;
  connection.refused = true;
  connection.refuse(text, /*linger=*/++refused_ <= kLingeringRefusals);
}

void Clients::on_no_resources(int error) {
  accept_paused_ = true;
  for (const auto& listener : listeners_) listener->pause();
  if (std::exchange(accept_failure_logged_, true)) return;
  log::attempt([&] {
    log::write(LogLevel::kWarning, "accept-paused", {},
               fmt::format("cannot accept connections for now: {}", std::strerror(error)));
  });
}

void Clients::on_accept_failed(Listener& listener, int error) {
  if (!std::exchange(listener.failure_told, true)) {
    log::attempt([&] {
      log::write(LogLevel::kWarning, "accept-paused", {},
                 fmt::format("cannot accept connections on {} for now: {}", listener.name(),
                             std::strerror(error)));
    });
  }
  accept_failed_ = true;
}

void Clients::retry_accepting() {
  if (!retry_accept_.armed()) timers().arm(retry_accept_, loop().now() + kRetryAccept);
  accept_failed_ = false;
}

void Clients::on_listener_dead(Listener& listener, int error) {
  log::attempt([&] {
    log::write(LogLevel::kError, "listener-dead", {},
               fmt::format("no more connections on {}, it does not listen any more: {}",
                           listener.name(), std::strerror(error)));
  });
}

void Clients::resume_accepting() {
  accept_paused_ = false;
  timers().disarm(retry_accept_);
  if (!takes_newcomers_) return;
  try {
    for (const auto& listener : listeners_) listener->resume();
  } catch (const std::system_error& error) {
    on_no_resources(error.code().value());
  }
}

}  // namespace pool_server
