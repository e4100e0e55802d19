#include "server/clients.h"

#include <cstring>
#include <system_error>
#include <utility>

#include "core/protocol.h"
#include "server/log.h"

namespace pool_server {

namespace {

// How long newcomers wait when there is no descriptor for them and no client leaves.
constexpr TimeUs kRetryAccept = 500'000;
// So many refused clients at once get the time to read why.
constexpr std::size_t kLingeringRefusals = 64;

std::string id_of(const Connection& connection) {
  return std::to_string(connection.serial());
}

}  // namespace

Clients::Clients(const Options& options, EventLoop& loop, Timers& timers,
                 ConnectionTable& connections, Admission& admission, ReplyRouter& router,
                 Counters& counters)
    : ConnectionHost(loop, timers),
      options_(options),
      connections_(connections),
      admission_(admission),
      router_(router),
      counters_(counters),
      retry_accept_([this](TimeUs) { resume_accepting(); }) {}

void Clients::listen(std::vector<ListeningSocket> sockets) {
  for (ListeningSocket& socket : sockets) {
    std::string path = socket.remove_path_at_close ? socket.name : std::string();
    listeners_.push_back(std::make_unique<Listener>(std::move(socket.fd), std::move(socket.name),
                                                    std::move(path), loop(), *this));
    log::write(LogLevel::kInfo, "listening", {},
               fmt::format("listening on {}", listeners_.back()->name()));
  }
}

void Clients::settle() {
  // Settling one connection may change it again: it then comes back in the same visit.
  while (!changed_.empty()) {
    settling_.swap(changed_);
    for (const ConnectionId id : settling_) {
      Connection* connection = connections_.find(id);
      if (connection == nullptr) continue;
      connection->listed = false;
      connection->settle();
    }
    settling_.clear();
  }
}

void Clients::reap() {
  connections_.reap();
}

void Clients::reconfigure() {
  connections_.for_each([](Connection& connection) { connection.reconfigure(); });
}

void Clients::begin_drain() {
  timers().disarm(retry_accept_);
  accept_paused_ = false;
  listeners_.clear();
  connections_.for_each([](Connection& connection) { connection.begin_drain(); });
}

bool Clients::on_request(Connection& connection, std::string_view line) {
  if (line.empty()) {
    router_.answer_error(connection, protocol::kEmptyRequest);
    return true;
  }
  if (line == protocol::kStatsRequest) {
    router_.answer_stats(connection);
    return true;
  }
  return admission_.admit(connection, line, loop().now());
}

void Clients::on_line_too_long(Connection& connection) {
  router_.answer_error(connection, protocol::line_too_long(options_.max_line));
}

void Clients::on_received(Connection& connection, std::size_t bytes) {
  if (!log::enabled(LogLevel::kDebug)) return;
  log::write(LogLevel::kDebug, "read", {{"CONNECTION", id_of(connection)}},
             fmt::format("read {} bytes from connection {}", bytes, connection.serial()));
}

void Clients::on_sent(Connection& connection, std::size_t bytes) {
  if (!log::enabled(LogLevel::kDebug)) return;
  log::write(LogLevel::kDebug, "sent", {{"CONNECTION", id_of(connection)}},
             fmt::format("sent {} bytes to connection {}", bytes, connection.serial()));
}

void Clients::on_changed(Connection& connection) {
  if (std::exchange(connection.listed, true)) return;
  changed_.push_back(connection.id());
}

void Clients::on_closed(Connection& connection, bool broken) {
  if (connection.writer().unanswered() > 0) admission_.cancel(connection.id());
  connections_.bury(connection);
  if (accept_paused_) resume_accepting();
  if (connections_.open() < options_.max_connections) limit_logged_ = false;
  if (!log::enabled(LogLevel::kDebug)) return;
  log::write(LogLevel::kDebug, "disconnected", {{"CONNECTION", id_of(connection)}},
             fmt::format("connection {} {}", connection.serial(), broken ? "broke" : "ended"));
}

void Clients::on_accepted(UniqueFd socket) {
  if (std::exchange(accept_failure_logged_, false)) {
    log::write(LogLevel::kInfo, "accept-resumed", {}, "accepting connections again");
  }
  try {
    if (connections_.open() >= options_.max_connections) {
      refuse(std::move(socket));
      return;
    }
    Connection& connection = connections_.add(std::move(socket), *this);
    connection.set_serial(++counters_.accepted);
    if (!log::enabled(LogLevel::kDebug)) return;
    const std::string peer = connection.peer();
    log::write(LogLevel::kDebug, "connected", {{"CONNECTION", id_of(connection)}, {"PEER", peer}},
               fmt::format("connection {} from {}", connection.serial(), peer));
  } catch (const std::system_error& error) {  // no memory for it in the kernel
    on_accept_failed(error.code().value());
  }
}

// A newcomer over the limit is told so, rather than left in the backlog to wonder.
void Clients::refuse(UniqueFd socket) {
  ++counters_.refused;
  if (!std::exchange(limit_logged_, true)) {
    log::write(LogLevel::kWarning, "connection-limit", {},
               fmt::format("refusing connections: {} are open (--max-connections)",
                           options_.max_connections));
  }
  const bool linger = connections_.open() < options_.max_connections + kLingeringRefusals;
  std::string text;
  protocol::append_reply(Outcome::kError, protocol::kTooManyConnections, text);
  connections_.add(std::move(socket), *this).refuse(text, linger);
}

void Clients::on_accept_failed(int error) {
  if (!std::exchange(accept_failure_logged_, true)) {
    log::write(LogLevel::kWarning, "accept-paused", {},
               fmt::format("cannot accept connections for now: {}", std::strerror(error)));
  }
  accept_paused_ = true;
  for (const auto& listener : listeners_) listener->pause();
  timers().arm(retry_accept_, loop().now() + kRetryAccept);
}

void Clients::resume_accepting() {
  accept_paused_ = false;
  timers().disarm(retry_accept_);
  for (const auto& listener : listeners_) listener->resume();
}

}  // namespace pool_server
