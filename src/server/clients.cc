#include "server/clients.h"

#include <string>
#include <utility>

#include "core/protocol.h"
#include "core/units.h"
#include "server/log.h"
#include "sys/memory_size.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

// How long clients wait that memory is short for before they are tried again. What frees memory, a
// client that reads, is an event of its own; this is for the others.
constexpr TimeUs kRetryStarved = 10'000;

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
      retry_accept_([this](TimeUs) { resume_accepting(); }),
      retry_starved_([this](TimeUs) { feed_starved(); }) {
  reconfigure();
}

Clients::~Clients() {
  timers().disarm(retry_accept_);
  timers().disarm(retry_starved_);
  connections_.clear();  // each of them has us as its host
}

std::string Clients::id_of(const Connection& connection) {
  return std::to_string(connection.serial());
}

// A budget for each kind, here and in the next: neither those who have sent something nor those who
// wait can take it all. Whoever has sent a little is heard even when it is used up.
void Clients::visit_readable() {
  begun_.reserve(readable_.size());  // what may fail comes before anything is taken
  visiting_.swap(readable_);
  // First what many have sent is received, and then they are heard: what runs between two system
  // calls is short then, and stays in the caches.
  for (auto next = visiting_.begin(); next != visiting_.end();) {
    for (; next != visiting_.end() && buffers().has_input_room(); ++next) {
      Connection* connection = connections_.find(*next);
      if (connection != nullptr && begin_visit(*connection)) begun_.push_back(connection);
    }
    for (Connection* connection : begun_) hear(*connection);
    begun_.clear();
    buffers().let_input_go();
  }
  visiting_.clear();
}

void Clients::give_turns() {
  budget().refill();
  admission_.begin_turns();
  while (!budget().used_up()) {
    const auto next = admission_.next_in_line();
    if (!next) break;
    Connection* connection = connections_.find(*next);
    if (connection == nullptr) continue;
    connection->wait_is_over();
    visit(*connection);
  }
  admission_.end_turns();
  budget().refill();
  for (std::size_t left = turns_.size(); left > 0 && !budget().used_up(); --left) {
    Connection* connection = connections_.find(turns_.front());
    turns_.pop_front();
    if (connection != nullptr) visit(*connection);
  }
}

void Clients::visit(Connection& connection) {
  if (begin_visit(connection)) hear(connection);
  buffers().let_input_go();
}

bool Clients::begin_visit(Connection& connection) {
  bool begun = false;
  connection.attempt([&] { begun = connection.begin_visit(); });
  return begun;
}

void Clients::hear(Connection& connection) {
  connection.attempt(
      [&] { connection.hear([&](const Connection::Item& item) { take(connection, item); }); });
}

void Clients::take(Connection& connection, const Connection::Item& item) {
  using Kind = Connection::Item::Kind;
  switch (item.kind) {
    case Kind::kNothing:
      return;
    case Kind::kRequest:
      take_request(connection, item, item.text, options_.overload);
      return;
    case Kind::kTooLong:
      router_.answer_error(connection, protocol::line_too_long(options_.max_line));
      return;
    case Kind::kCarried:
      break;
  }
  switch (item.carried->kind) {
    case CarriedAnswer::Kind::kRequest:
      take_request(connection, item, item.carried->text, Overload::kWait);  // accepted is accepted
      return;
    case CarriedAnswer::Kind::kReply:
      router_.answer_carried(connection, *item.carried);
      return;
    case CarriedAnswer::Kind::kStats:
      router_.answer_stats(connection);
      return;
  }
}

void Clients::take_request(Connection& connection, const Connection::Item& item,
                           std::string_view text, Overload overload) {
  if (text.empty()) {
    router_.answer_error(connection, protocol::kEmptyRequest);
    return;
  }
  if (text == protocol::kStatsRequest) {
    router_.answer_stats(connection);
    return;
  }
  switch (admission_.admit(connection, text, loop().now(), overload)) {
    case Admission::Verdict::kAdmitted:
      ++connection.requests;
      return;
    case Admission::Verdict::kWait:
      connection.put_back(item, Connection::Wait::kRoom);
      return;
    case Admission::Verdict::kNoMemory:
      connection.put_back(item, Connection::Wait::kMemory);
      return;
    case Admission::Verdict::kBusy:
      ++counters_.shed_busy;
      router_.answer_error(connection, protocol::kServerBusy);
      return;
  }
}

// Whoever gets nothing is starved again, behind those who wait already.
void Clients::feed_starved() {
  for (const ConnectionId id : std::exchange(starved_, {})) {
    if (Connection* connection = connections_.find(id)) connection->memory_may_be_free();
  }
}

void Clients::tell_starved() {
  log::attempt([&] {
    log::write(
        LogLevel::kWarning, "memory-short", {},
        fmt::format("{} clients wait for memory: {} of --max-memory {} are taken by requests "
                    "and replies",
                    starved_.size(), format_size(memory().held()), format_size(memory().limit())));
  });
}

void Clients::settle() {
  // Settling one connection may change it again: it then comes back in the next round.
  begun_.reserve(changed_.size());  // what may fail comes first
  settling_.swap(changed_);
  for (const ConnectionId id : settling_) {
    Connection* connection = connections_.find(id);
    if (connection == nullptr) continue;
    begun_.push_back(connection);
    connection->send_due();
  }
  for (Connection* connection : begun_) {
    connection->listed = false;
    connection->settle();
  }
  begun_.clear();
  settling_.clear();
  budget().refill();
  if (accept_paused_ || accept_failed_) retry_accepting();
  if (!starved_.empty() && !retry_starved_.armed()) {
    timers().arm(retry_starved_, loop().now() + kRetryStarved);
    tell_starved();
  }
}

void Clients::reap() {
  connections_.reap();
}

void Clients::reconfigure() {
  memory().set_limit(
      options_.max_memory != Options::kShareOfMemory ? options_.max_memory : usable_memory() / 4,
      options_.max_connections);
  limits_ = {.max_unanswered = options_.max_inflight_per_connection,
             .max_bytes_owed = options_.max_unsent};
  timeouts_ = {
      .idle = options_.idle_timeout, .line = options_.line_timeout, .send = options_.send_timeout};
  connections_.for_each([](Connection& connection) { connection.reconfigure(); });
  counts_peers_ = options_.max_connections_per_peer > 0;
  if (!counts_peers_) peers_.clear();
}

void Clients::make_room_to_reconfigure(const Options& wanted) {
  std::size_t connections = 0;
  connections_.for_each([&connections](Connection&) { ++connections; });
  timers().reserve(connections);
  changed_.reserve(changed_.size() + connections);
  if (wanted.max_connections_per_peer == 0 || counts_peers_) return;
  PeerCounts peers;  // those who came before the limit was set count as well
  connections_.for_each([&peers](const Connection& connection) {
    const bool counts = !connection.refused && !connection.awaits_header();
    if (counts) peers.add(connection.id().slot, connection.peer_key());
  });
  peers_ = std::move(peers);
}

void Clients::restore(UniqueFd socket, CarriedConnection&& state) {
  Connection* connection = nullptr;
  try {
    connection = &let_in(std::move(socket));
    connection->restore(std::move(state));
    if (!connection->closed() && !connection->awaits_header()) count_peer(*connection);
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

Clients::Debts Clients::debts() {
  Debts debts;
  connections_.for_each([&debts](Connection& connection) {
    const Connection::Debt debt = connection.debt();
    if (debt.replies == 0 && debt.bytes == 0) return;
    ++debts.connections;
    debts.replies += debt.replies;
    debts.bytes += debt.bytes;
  });
  return debts;
}

void Clients::take_newcomers(bool wanted) {
  takes_newcomers_ = wanted;
  if (!wanted) {
    for (const auto& listener : listeners_) listener->pause();
  } else if (!accept_paused_) {
    resume_accepting();
  }
}

void Clients::begin_drain(Connection::Carry carry) {
  timers().disarm(retry_accept_);
  accept_failed_ = accept_paused_ = false;
  listeners_.clear();
  connections_.for_each([carry](Connection& connection) {
    if (carry != Connection::Carry::kNo) {
      connection.prepare_to_carry(carry);
    } else {
      connection.finish_up(Connection::Farewell::kDelivered);
    }
  });
}

void Clients::on_ready(Connection& connection, Ready how) {
  if (how == Ready::kReadable) {
    readable_.push_back(connection.id());
  } else {
    turns_.push_back(connection.id());
  }
}

void Clients::on_received(Connection& connection, std::size_t bytes) {
  counters_.bytes_in += bytes;
  if (!log::enabled(LogLevel::kDebug)) return;
  log::write(LogLevel::kDebug, "read", {{"POOL_SERVER_CONNECTION", id_of(connection)}},
             fmt::format("read {} bytes from connection {}", bytes, connection.serial()));
}

void Clients::on_sent(Connection& connection, std::size_t bytes) {
  counters_.bytes_out += bytes;
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
  connection.finish_up(Connection::Farewell::kLinger);
}

void Clients::on_failed(Connection& connection, const std::exception& error) {
  log::attempt([&] {
    log::write(LogLevel::kWarning, "connection-failed",
               {{"POOL_SERVER_CONNECTION", id_of(connection)}},
               fmt::format("closing connection {}: {}", connection.serial(), error.what()));
  });
  connection.close(/*broken=*/true);
}

void Clients::on_closed(Connection& connection, bool broken) {
  peers_.remove(connection.id().slot);
  if (connection.writer().unanswered() > 0) admission_.cancel(connection.id());
  const bool waited = connection.waits_for_room();
  connections_.bury(connection);
  if (waited) {
    admission_.on_waiter_gone([this](ConnectionId id) { return connections_.find(id) != nullptr; });
  }
  if (accept_paused_) resume_accepting();
  if (connection.refused) --refused_;
  if (!log::enabled(LogLevel::kDebug)) return;
  log::attempt([&] {
    log::write(LogLevel::kDebug, "disconnected", {{"POOL_SERVER_CONNECTION", id_of(connection)}},
               fmt::format("connection {} {}", connection.serial(), broken ? "broke" : "ended"));
  });
}

}  // namespace pool_server
