#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "core/stats.h"
#include "net/connection_host.h"
#include "net/connection_table.h"
#include "net/listener.h"
#include "server/admission.h"
#include "server/reply_router.h"
#include "sys/socket_address.h"

namespace pool_server {

// The front desk: lets clients in, passes on what they ask, and sees them out. Loop thread only.
class Clients final : public ConnectionHost, public ListenerHost {
 public:
  Clients(const Options& options, EventLoop& loop, Timers& timers, ConnectionTable& connections,
          Admission& admission, ReplyRouter& router, Counters& counters);

  void listen(std::vector<ListeningSocket> sockets);

  // End of round: flushes replies, admits what became possible.
  void settle();
  void reap();

  // Options have changed.
  void reconfigure();

  // A connection of an earlier process. Throws when it cannot be served, after its client was told
  // so, as far as that goes, and the connection has been ended in good order.
  void restore(UniqueFd socket, CarriedConnection&& state);
  // Lets go of all connections, without a word and without ending them for who else holds them.
  void forget_all();

  // No more newcomers, no more requests. Connections end when nothing is owed to them, or, to be
  // carried over, stay until then.
  void begin_drain(bool carry);
  // Nothing more can be done for anyone before a hand-over.
  bool ready_to_carry();

  // Clients being served: those that only hear why they were refused do not count.
  std::size_t served() const { return connections_.open() - refused_; }

  // ConnectionHost
  bool on_request(Connection& connection, std::string_view line) override;
  bool on_carried_answer(Connection& connection, const CarriedAnswer& carried) override;
  void on_line_too_long(Connection& connection) override;
  void on_received(Connection& connection, std::size_t bytes) override;
  void on_sent(Connection& connection, std::size_t bytes) override;
  void on_changed(Connection& connection) override;
  void on_closed(Connection& connection, bool broken) override;
  std::size_t max_line() const override { return options_.max_line; }
  const ConnectionLimits& limits() const override { return limits_; }
  const ConnectionTimeouts& timeouts() const override { return timeouts_; }
  void on_expired(Connection& connection, Expiry expiry) override;

  // ListenerHost
  void on_accepted(UniqueFd socket) override;
  void on_accept_failed(int error) override;

 private:
  bool answer(Connection& connection, std::string_view line, Overload overload);
  Connection& let_in(UniqueFd&& socket);  // if it throws, it has not taken the socket, or closed it
  // Why a newcomer is turned away; empty: it is let in.
  std::string_view reason_to_refuse(int socket);
  void refuse(UniqueFd socket, std::string_view reason);
  void resume_accepting();

  const Options& options_;
  ConnectionTable& connections_;
  Admission& admission_;
  ReplyRouter& router_;
  Counters& counters_;
  ConnectionLimits limits_;
  ConnectionTimeouts timeouts_;

  // Kept while --max-connections-per-peer is set.
  std::map<PeerKey, std::size_t> connections_of_peer_;
  std::map<std::uint32_t, PeerKey> peer_of_slot_;

  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<ConnectionId> changed_;
  std::vector<ConnectionId> settling_;
  CallbackTimer retry_accept_;
  std::size_t refused_ = 0;
  bool accept_paused_ = false;
  bool accept_failure_logged_ = false;
  bool limit_logged_ = false;
};

}  // namespace pool_server
