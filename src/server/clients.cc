#include "server/clients.h"

#include <cstring>
#include <system_error>
#include <utility>

#include "core/protocol.h"
#include "server/log.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

// How long newcomers wait when there is no descriptor for them and no client leaves.
constexpr TimeUs kRetryAccept = 500'000;
// So many refused clients at once get the time to read why.
constexpr std::size_t kLingeringRefusals = 64;

std::string id_of(const Connection& connection) {
  return std::to_string(connection.serial());
}

// All that can be said to a client that cannot be served, without waiting for it to listen.
void see_out(int socket, const CarriedConnection& state) {
  std::string last = state.unsent;
  protocol::append_reply(Outcome::kError, protocol::kInternalError, last);
  (void)send(socket, last);
  end_in_good_order(socket);
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
      retry_accept_([this](TimeUs) { resume_accepting(); }) {
  reconfigure();
}

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
  limits_ = {.max_unanswered = options_.max_inflight_per_connection,
             .max_bytes_owed = options_.max_unsent};
  timeouts_ = {
      .idle = options_.idle_timeout, .line = options_.line_timeout, .send = options_.send_timeout};
  connections_.for_each([](Connection& connection) { connection.reconfigure(); });
}

void Clients::restore(UniqueFd socket, CarriedConnection&& state) {
  Connection* connection = nullptr;
  try {
    connection = &let_in(std::move(socket));
    connection->restore(std::move(state));
  } catch (...) {
    if (connection != nullptr) {
      end_in_good_order(connection->descriptor());
      connection->close(/*broken=*/true);
    } else if (socket.valid()) {
      see_out(socket.get(), state);
    }
    throw;
  }
}

void Clients::forget_all() {
  connections_.for_each([](Connection& connection) { connection.close(/*broken=*/false); });
  connections_.reap();
}

bool Clients::ready_to_carry() {
  bool ready = true;
  connections_.for_each(
      [&ready](Connection& connection) { ready = ready && connection.ready_to_carry(); });
  return ready;
}

void Clients::begin_drain(bool carry) {
  timers().disarm(retry_accept_);
  accept_paused_ = false;
  listeners_.clear();
  connections_.for_each([carry](Connection& connection) {
    if (carry) {
      connection.prepare_to_carry();
    } else {
      connection.finish_up(/*linger=*/false);
    }
  });
}

bool Clients::on_request(Connection& connection, std::string_view line) {
  return answer(connection, line, options_.overload);
}

bool Clients::answer(Connection& connection, std::string_view line, Overload overload) {
  if (line.empty()) {
    router_.answer_error(connection, protocol::kEmptyRequest);
    return true;
  }
  if (line == protocol::kStatsRequest) {
    router_.answer_stats(connection);
    return true;
  }
  const Admission::Verdict verdict = admission_.admit(connection, line, loop().now(), overload);
  if (verdict != Admission::Verdict::kBusy) return verdict == Admission::Verdict::kAdmitted;
  ++counters_.shed_busy;
  router_.answer_error(connection, protocol::kServerBusy);
  return true;
}

bool Clients::on_carried_answer(Connection& connection, const CarriedAnswer& carried) {
  switch (carried.kind) {
    case CarriedAnswer::Kind::kRequest:
      return answer(connection, carried.text, Overload::kWait);  // accepted is accepted
    case CarriedAnswer::Kind::kReply:
      router_.answer_carried(connection, carried);
      return true;
    case CarriedAnswer::Kind::kStats:
      router_.answer_stats(connection);
      return true;
  }
  return true;
}

void Clients::on_line_too_long(Connection& connection) {
  router_.answer_error(connection, protocol::line_too_long(options_.max_line));
}

void Clients::on_received(Connection& connection, std::size_t bytes) {
  if (!log::enabled(LogLevel::kDebug)) return;
  log::write(LogLevel::kDebug, "read", {{"POOL_SERVER_CONNECTION", id_of(connection)}},
             fmt::format("read {} bytes from connection {}", bytes, connection.serial()));
}

void Clients::on_sent(Connection& connection, std::size_t bytes) {
  if (!log::enabled(LogLevel::kDebug)) return;
  log::write(LogLevel::kDebug, "sent", {{"POOL_SERVER_CONNECTION", id_of(connection)}},
             fmt::format("sent {} bytes to connection {}", bytes, connection.serial()));
}

void Clients::on_changed(Connection& connection) {
  if (std::exchange(connection.listed, true)) return;
  changed_.push_back(connection.id());
}

void Clients::on_expired(Connection& connection, Expiry expiry) {
  if (expiry == Expiry::kSend) {  // it reads nothing, so there is nothing to say to it
    ++counters_.slow_readers;
    connection.close(/*broken=*/true);
    return;
  }
  const bool idle = expiry == Expiry::kIdle;
  ++(idle ? counters_.idle_closed : counters_.slow_lines);
  router_.answer_error(connection, idle ? protocol::kIdleTooLong : protocol::kLineTooSlow);
  connection.finish_up(/*linger=*/true);
}

void Clients::on_closed(Connection& connection, bool broken) {
  if (const auto peer = peer_of_slot_.find(connection.id().slot); peer != peer_of_slot_.end()) {
    const auto count = connections_of_peer_.find(peer->second);
    if (--count->second == 0) connections_of_peer_.erase(count);
    peer_of_slot_.erase(peer);
  }
  if (connection.writer().unanswered() > 0) admission_.cancel(connection.id());
  connections_.bury(connection);
  if (accept_paused_) resume_accepting();
  if (connection.refused) --refused_;
  if (served() < options_.max_connections) limit_logged_ = false;
  if (!log::enabled(LogLevel::kDebug)) return;
  log::write(LogLevel::kDebug, "disconnected", {{"POOL_SERVER_CONNECTION", id_of(connection)}},
             fmt::format("connection {} {}", connection.serial(), broken ? "broke" : "ended"));
}

void Clients::on_accepted(UniqueFd socket) {
  if (std::exchange(accept_failure_logged_, false)) {
    log::write(LogLevel::kInfo, "accept-resumed", {}, "accepting connections again");
  }
  try {
    if (const auto reason = reason_to_refuse(socket.get()); !reason.empty()) {
      refuse(std::move(socket), reason);
      return;
    }
    Connection& connection = let_in(std::move(socket));
    connection.set_serial(++counters_.accepted);
    const LogLevel level = options_.log_connections ? LogLevel::kInfo : LogLevel::kDebug;
    if (!log::enabled(level)) return;
    const std::string address = connection.peer();
    log::write(level, "connected",
               {{"POOL_SERVER_CONNECTION", id_of(connection)}, {"POOL_SERVER_PEER", address}},
               fmt::format("connection {} from {}", connection.serial(), address));
  } catch (const std::system_error& error) {  // no memory for it in the kernel
    on_accept_failed(error.code().value());
  }
}

Connection& Clients::let_in(UniqueFd&& socket) {
  const bool count_peer = options_.max_connections_per_peer > 0;
  const PeerKey peer = count_peer ? peer_key(socket.get()) : PeerKey();
  Connection& connection = connections_.add(std::move(socket), *this);
  if (!count_peer) return connection;
  try {
    std::size_t& count = connections_of_peer_[peer];
    peer_of_slot_[connection.id().slot] = peer;
    ++count;
  } catch (...) {  // no memory to count it
    connection.close(/*broken=*/true);
    throw;
  }
  return connection;
}

std::string_view Clients::reason_to_refuse(int socket) {
  if (served() >= options_.max_connections) return protocol::kTooManyConnections;
  if (options_.max_connections_per_peer == 0) return {};
  const auto peer = connections_of_peer_.find(peer_key(socket));
  const bool too_many =
      peer != connections_of_peer_.end() && peer->second >= options_.max_connections_per_peer;
  return too_many ? protocol::kTooManyFromPeer : std::string_view();
}

// A newcomer over a limit is told so, rather than left in the backlog to wonder.
void Clients::refuse(UniqueFd socket, std::string_view reason) {
  ++counters_.refused;
  if (!std::exchange(limit_logged_, true)) {
    const std::string peer = peer_name(socket.get());
    log::write(LogLevel::kWarning, "connection-limit", {{"POOL_SERVER_PEER", peer}},
               fmt::format("refusing connections, {} are open, the first from {}: {}", served(),
                           peer, reason));
  }
  std::string text;
  protocol::append_reply(Outcome::kError, reason, text);
  Connection& connection = connections_.add(std::move(socket), *this);
  connection.refused = true;
  connection.refuse(text, /*linger=*/++refused_ <= kLingeringRefusals);
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
