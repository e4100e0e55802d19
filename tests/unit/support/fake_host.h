#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/protocol.h"
#include "net/connection_host.h"
#include "net/connection_table.h"
#include "support/descriptors.h"
#include "support/loop_driver.h"

namespace pool_server {

// A client's end: what it sends, and what it has heard.
class Client {
 public:
  explicit Client(UniqueFd socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }
  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0) throw_errno("send");
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  void shut_down_sending() const { ::shutdown(fd(), SHUT_WR); }
  void leave() { socket_.reset(); }
  // Over TCP: without a word of parting.
  void break_off() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    leave();
  }

  // Reads what has come, up to `most` bytes; true once the server has closed.
  bool listen(std::size_t most = SIZE_MAX) {
    std::vector<char> buffer(std::min<std::size_t>(most, 1 << 16));
    std::size_t total = 0;
    ssize_t count = 0;
    while (total < most && (count = ::recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0) {
      heard_.append(buffer.data(), static_cast<std::size_t>(count));
      total += static_cast<std::size_t>(count);
    }
    return total == 0 && count == 0;
  }
  const std::string& heard() const { return heard_; }

 private:
  UniqueFd socket_;
  std::string heard_;
};

// Others who hold so much of the memory for requests and replies, while this lives.
class HeldByOthers {
 public:
  HeldByOthers(MemoryBudget& memory, std::size_t bytes) : memory_(memory) {
    memory_.open(account_);
    memory_.set(account_, 0, bytes);
  }
  HeldByOthers(const HeldByOthers&) = delete;
  HeldByOthers& operator=(const HeldByOthers&) = delete;
  ~HeldByOthers() { memory_.close(account_); }

 private:
  MemoryBudget& memory_;
  MemoryBudget::Account account_;
};

// A server round connections that does as the test says. What is asked waits in `requests` until
// the test answers it.
class FakeHost : public ConnectionHost {
 public:
  struct Request {
    ConnectionId connection;
    std::uint64_t sequence = 0;
    std::string text;
  };

  virtual ~FakeHost() = default;
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;
  explicit FakeHost(LoopDriver& driver) : ConnectionHost(driver.loop, driver.timers) {
    driver.at_end_of_round = [this] { end_round(); };
  }

  // Lets a client in, over a socket pair.
  std::pair<ConnectionId, Client> connect() {
    auto [ours, theirs] = socket_pair();
    return {table.add(std::move(ours), *this).id(), Client(std::move(theirs))};
  }
  void answer(const Request& request, std::string_view text) {
    if (Connection* connection = table.find(request.connection)) {
      file(*connection, request.sequence, protocol_line(text), request.text.size());
    }
  }
  void answer_all() {
    for (const Request& request : std::exchange(requests, {})) answer(request, request.text);
  }

  // False: there is no room for it.
  virtual bool take_request(Connection& connection, std::string_view line) {
    ++offered;
    if (room == 0) return false;
    --room;
    requests.push_back({connection.id(), connection.reserve(line.size()), std::string(line)});
    return true;
  }
  void on_ready(Connection& connection, Ready how) override {
    (how == Ready::kReadable ? readable_ : turns).push_back(connection.id());
  }
  // As the server does.
  void visit(Connection& connection) {
    connection.attempt([&] {
      if (!connection.begin_visit()) return;
      connection.hear([&](const Connection::Item& item) {
        if (!take(connection, item)) connection.put_back(item, Connection::Wait::kRoom);
      });
    });
    buffers().let_input_go();
  }
  void visit_readable() { visit_all(std::exchange(readable_, {})); }
  // There is room for what waited for some.
  void resume(Connection& connection) {
    connection.wait_is_over();
    visit(connection);
  }
  void on_client_known(Connection&) override { ++known; }
  void on_bad_header(Connection& connection) override {
    ++bad_headers;
    connection.refused = true;
    connection.refuse("ERROR: no header\n", /*linger=*/false);
  }
  void on_received(Connection&, std::size_t bytes) override { received += bytes; }
  void on_sent(Connection&, std::size_t bytes) override { sent += bytes; }
  void on_starved(Connection& connection) override { starved.push_back(connection.id()); }
  void on_changed(Connection& connection) override {
    if (!std::exchange(connection.listed, true)) changed_.push_back(connection.id());
  }
  void on_failed(Connection& connection, const std::exception&) override {
    connection.close(/*broken=*/true);
  }
  void on_closed(Connection& connection, bool broken) override {
    closed.push_back({connection.id(), broken});
    table.bury(connection);
  }
  void on_expired(Connection& connection, Expiry expiry) override {
    expired.push_back(expiry);
    connection.close(/*broken=*/true);
  }
  std::size_t max_line() const override { return longest_line; }
  const ConnectionLimits& limits() const override { return bounds; }
  const ConnectionTimeouts& timeouts() const override { return patience; }

  std::size_t longest_line = 1000;
  ConnectionLimits bounds;
  ConnectionTimeouts patience;
  std::size_t room = SIZE_MAX;  // requests that will be taken
  std::size_t offered = 0;
  std::vector<Request> requests;
  int known = 0;
  int bad_headers = 0;
  std::size_t received = 0;
  std::size_t sent = 0;
  std::vector<std::pair<ConnectionId, bool>> closed;  // bool: broken
  std::vector<Expiry> expired;
  std::vector<ConnectionId> turns;  // given at the end of the round, while `gives_turns`
  bool gives_turns = true;
  std::vector<ConnectionId> starved;
  ConnectionTable table;

 private:
  bool take(Connection& connection, const Connection::Item& item) {
    using Kind = Connection::Item::Kind;
    if (item.kind == Kind::kRequest) return take_request(connection, item.text);
    if (item.kind == Kind::kTooLong) {
      file(connection, connection.reserve(0), "ERROR: too long\n", 0);
      return true;
    }
    const CarriedAnswer& carried = *item.carried;
    if (carried.kind == CarriedAnswer::Kind::kRequest)
      return take_request(connection, carried.text);
    file(connection, connection.reserve(0),
         carried.kind == CarriedAnswer::Kind::kReply ? carried.text : "stats:\n", 0);
    return true;
  }
  void end_round() {
    visit_readable();
    budget().refill();
    if (gives_turns) visit_all(std::exchange(turns, {}));
    for (const ConnectionId id : std::exchange(changed_, {})) {
      Connection* connection = table.find(id);
      if (connection == nullptr) continue;
      connection->listed = false;
      connection->send_due();
      connection->settle();
    }
    budget().refill();
    table.reap();
  }
  void visit_all(const std::vector<ConnectionId>& ids) {
    for (const ConnectionId id : ids) {
      if (Connection* connection = table.find(id)) visit(*connection);
    }
  }
  static std::string protocol_line(std::string_view text) {
    std::string line;
    protocol::append_reply(Outcome::kOk, text, line);
    return line;
  }
  static void file(Connection& connection, std::uint64_t sequence, std::string reply,
                   std::size_t text_bytes) {
    auto answer = std::make_unique<Run>();
    answer->answer(Run::Kind::kRefusal, Outcome::kOk);
    answer->sequence = sequence;
    answer->replies = std::move(reply);
    connection.writer().put(std::move(answer), text_bytes);
    while (const RunPtr next = connection.writer().take_next()) {
      connection.writer().append(next->replies, connection.buffers());
    }
    connection.changed();
  }

  std::vector<ConnectionId> readable_;
  std::vector<ConnectionId> changed_;
};

}  // namespace pool_server
