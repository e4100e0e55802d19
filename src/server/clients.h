#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "core/stats.h"
#include "loop/listener.h"
#include "net/connection_host.h"
#include "net/connection_table.h"
#include "server/admission.h"
#include "server/peer_counts.h"
#include "server/reply_router.h"
#include "sys/socket_address.h"

namespace pool_server {

// The front desk: lets clients in, passes on what they ask, and sees them out. Loop thread only.
class Clients final : public ConnectionHost, public ListenerHost {
 public:
  Clients(const Options& options, EventLoop& loop, Timers& timers, ConnectionTable& connections,
          Admission& admission, ReplyRouter& router, Counters& counters);
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;
  ~Clients();  // with all connections

  void listen(std::vector<ListeningSocket> sockets);

  // End of round: hears what those have to ask who have sent something, before anything else is
  // done in it.
  void visit_readable();
  // End of round: serves those who wait for room in the queue, and those who have lines left over
  // from an earlier round.
  void give_turns();
  // End of round: sends replies, and ends what is complete.
  void settle();
  // Some of that is left for the next round, which is not to be waited for.
  bool has_work_left() const { return !turns_.empty() || !changed_.empty() || !readable_.empty(); }
  // Somebody may have more to ask than was heard so far.
  bool may_hear_more() const { return has_work_left() || !starved_.empty(); }
  void reap();

  // Options have changed. Allocates nothing if make_room_to_reconfigure() went before, between the
  // same two rounds, with what they are going to be; that may throw std::bad_alloc.
  void reconfigure();
  void make_room_to_reconfigure(const Options& wanted);

  // A connection of an earlier process. Throws when it cannot be served, after its client was told
  // so, as far as that goes, and the connection has been ended in good order.
  void restore(UniqueFd socket, CarriedConnection&& state);
  // Lets go of all connections, without a word and without ending them for who else holds them.
  void forget_all();

  // No more newcomers, no more requests. Connections end when all that is owed has been delivered,
  // or, to be carried over, stay open.
  void begin_drain(Connection::Carry carry);
  // Clients to whom something is owed, what it comes to, and all that was not delivered.
  struct Debts {
    std::size_t connections = 0;
    std::uint64_t replies = 0;
    std::size_t bytes = 0;
  };
  Debts debts();

  // Takes newcomers, or leaves them in the backlog.
  void take_newcomers(bool wanted);

  // Clients being served: those that only hear why they were refused do not count.
  std::size_t served() const { return connections_.open() - refused_; }

  // ConnectionHost
  void on_ready(Connection& connection, Ready how) override;
  void on_client_known(Connection& connection) override;
  void on_bad_header(Connection& connection) override;
  void on_received(Connection& connection, std::size_t bytes) override;
  void on_sent(Connection& connection, std::size_t bytes) override;
  void on_starved(Connection& connection) override { starved_.push_back(connection.id()); }
  void on_changed(Connection& connection) override;
  void on_failed(Connection& connection, const std::exception& error) override;
  void on_closed(Connection& connection, bool broken) override;
  std::size_t max_line() const override { return options_.max_line; }
  const ConnectionLimits& limits() const override { return limits_; }
  const ConnectionTimeouts& timeouts() const override { return timeouts_; }
  void on_expired(Connection& connection, Expiry expiry) override;

  // ListenerHost
  void on_accepted(Listener& listener, UniqueFd socket) override;
  void on_no_resources(int error) override;
  void on_accept_failed(Listener& listener, int error) override;
  void on_listener_dead(Listener& listener, int error) override;

 private:
  static std::string id_of(const Connection& connection);  // for the log
  void visit(Connection& connection);
  bool begin_visit(Connection& connection);
  void hear(Connection& connection);
  void take(Connection& connection, const Connection::Item& item);
  void take_request(Connection& connection, const Connection::Item& item, std::string_view text,
                    Overload overload);
  Connection& let_in(UniqueFd&& socket);  // if it throws, it has not taken the socket
  bool is_proxy(int socket) const;
  // Its client is known from now on, and counts as one of its peer's.
  void count_peer(Connection& connection);
  bool is_one_too_many(const PeerKey& peer) const;
  void greet(Connection& connection);
  void refuse(UniqueFd socket, std::string_view reason);
  void turn_away(Connection& connection, std::string_view reason);
  void bid_farewell(Connection& connection, std::string_view reason);
  void retry_accepting();  // in a while; throws std::bad_alloc
  void resume_accepting();
  void feed_starved();
  void tell_starved();

  const Options& options_;
  ConnectionTable& connections_;
  Admission& admission_;
  ReplyRouter& router_;
  Counters& counters_;
  ConnectionLimits limits_;
  ConnectionTimeouts timeouts_;

  PeerCounts peers_;  // kept while --max-connections-per-peer is set

  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<ConnectionId> changed_;
  std::vector<ConnectionId> settling_;
  std::vector<ConnectionId> readable_;  // who has sent something, in this round
  std::vector<ConnectionId> visiting_;
  std::vector<Connection*>
      begun_;  // in visit_readable() and settle(): their second step is to come
  std::deque<ConnectionId> turns_;     // who has lines left over, the longest served last
  std::vector<ConnectionId> starved_;  // in the order in which they are fed
  CallbackTimer retry_accept_;
  CallbackTimer retry_starved_;
  std::size_t refused_ = 0;
  bool counts_peers_ = false;
  // Some listener is paused, or all are: settle() arms the timer, as there may be no memory for it
  // when that is found out.
  bool accept_failed_ = false;
  bool accept_paused_ = false;
  bool takes_newcomers_ = true;
  bool accept_failure_logged_ = false;
};

}  // namespace pool_server
