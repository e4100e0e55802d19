#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/ids.h"
#include "loop/event_loop.h"
#include "loop/timers.h"
#include "net/connection_host.h"
#include "net/proxied_client.h"
#include "net/reply_writer.h"
#include "net/request_reader.h"
#include "sys/socket.h"
#include "sys/socket_address.h"
#include "sys/unique_fd.h"

namespace pool_server {

// One client. Moves bytes between its socket, its reader and its writer, and decides when it is
// over. What it may read follows from its state in one place, update_interest().
//
// Loop thread only. After close() the object stays, deaf, until the end of the round, as events of
// the same round may still name it.
class Connection final : public EventSource, private Timer {
 public:
  // If it throws, the socket stays with the caller.
  Connection(ConnectionId id, UniqueFd&& socket, ConnectionHost& host);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  ConnectionId id() const { return id_; }
  std::uint64_t serial() const { return serial_; }  // names it in the log
  void set_serial(std::uint64_t serial) { serial_ = serial; }
  // Who is at the other end, or behind the proxy there: for the log, and for limits.
  std::string peer() const;
  PeerKey peer_key() const;

  void on_events(std::uint32_t events) override;

  // Does something for this client. What fails, for lack of memory for instance, costs this
  // connection and no other. Whatever the loop or the host begins goes through here.
  template <class Action>
  void attempt(Action action) {
    try {
      action();
    } catch (const std::exception& error) {
      fail(error);
    }
  }

  // It comes from a proxy: a header is to come before all else. Before anything else happens to it.
  void expect_header();
  bool is_proxied() const { return proxied_ != nullptr; }
  bool awaits_header() const { return proxied_ != nullptr && !proxied_->known(); }

  // Sends `text` (a whole line) as the only thing this client hears, then ends the connection.
  void refuse(std::string_view text, bool linger);
  // Admits what could not be admitted before.
  void resume();
  // Admits some more of what was left over from its last turn, or reads on.
  void take_turn();
  // How many bytes more it may be charged with (see MemoryBudget), for input and for a request. If
  // that takes more, the host says starve() and refuses it for now.
  std::size_t room_to_read() const { return host_.memory().room_to_read(account_); }
  std::size_t room_to_admit() const { return host_.memory().room_to_admit(account_); }
  void starve();
  // After on_starved(): to be tried again.
  void memory_may_be_free();
  // The host's limits or time-outs have changed.
  void reconfigure();
  // Takes up what an earlier process left; before anything else happens to it.
  void restore(CarriedConnection&& from);
  // How it is carried over to the next process.
  enum class Carry : unsigned char {
    kNo,
    kAsItIs,     // all that is not answered is carried
    kDelivered,  // what has been received is answered and delivered first
  };
  // Reads no more, and waits to be carried over. An end that the client asked for comes all the
  // same.
  void prepare_to_carry(Carry how);
  bool to_be_carried() const { return carry_ != Carry::kNo; }
  // Gives away what a restart carries over; `undone` as for ReplyWriter::carry. To be closed next.
  CarriedConnection carry(std::vector<TaskPtr> undone);
  // Of what was accepted, something has no reply yet, or not all of its reply was sent.
  bool is_owed() const;
  int descriptor() const { return socket_.get(); }

  enum class Farewell : unsigned char {
    kShort,      // closed as soon as the kernel has the last byte
    kLinger,     // the client has some time to read its last reply even if it keeps sending
    kDelivered,  // closed when the client's side has taken in the last byte, however late that is
  };
  // Reads no more, and ends when nothing is owed.
  void finish_up(Farewell farewell);
  // Replies that are owed and that the client has not taken in, and their bytes as far as they are
  // there.
  struct Debt {
    std::uint64_t replies = 0;
    std::size_t bytes = 0;
  };
  Debt debt() const;
  // The end-of-round visit: sends what is due, admits what became possible, ends what is complete.
  void settle();
  void close(bool broken);

  ReplyWriter& writer() { return writer_; }
  const ReplyWriter& writer() const { return writer_; }
  BufferPool& buffers() { return host_.buffers(); }
  // Its writer was given something.
  void changed() { host_.on_changed(*this); }
  bool closed() const { return !socket_.valid(); }
  bool waiting_for_queue() const { return waiting_for_queue_; }

  // For the host: it is on the list of connections to settle; its STATS are to be told at the end
  // of the round; it was refused and only hears why.
  bool listed = false;
  bool awaits_stats = false;
  bool refused = false;
  // Counted by the host: requests for workers, and how long those were at work on them, in µs.
  std::uint64_t requests = 0;
  TimeUs had_work_for = 0;

 private:
  enum class Phase : unsigned char {
    kServing,
    kLingering,  // all is said and our FIN is sent: discard input until the client closes too
  };

  void fail(const std::exception& error);
  ConnectionLoad load();
  void settle_account();
  bool has_backlog() const;
  bool may_read();
  void read();
  void wait_for_turn();
  bool admits_no_more() const { return carry_ == Carry::kAsItIs; }
  bool take_header(std::string_view& input);
  std::pair<IoResult, std::span<char>> receive_some(std::size_t most);
  void admit_lines();
  bool admit_carried(std::size_t& lines);
  bool admit_decoded(std::size_t& lines);
  bool may_admit_more();
  bool complete() const;
  void finish();
  void discard_input();
  void look_for_delivery();
  void leave_loop();
  void update_interest();
  void arm_timer();
  void on_time(TimeUs now) override;
  bool is_excused(Expiry expiry);
  bool reads_on();
  bool line_is_here();
  bool mid_line() const { return awaits_header() || reader_.mid_line(); }
  struct Due {
    TimeUs at = kNever;
    Expiry expiry = Expiry::kIdle;
  };
  Due next_due();

  const ConnectionId id_;
  UniqueFd socket_;
  ConnectionHost& host_;
  std::unique_ptr<ProxiedClient> proxied_;  // null: the other end is the client
  RequestReader reader_;
  ReplyWriter writer_;
  // Answers owed from before a restart; they come before anything that is still to be decoded.
  struct Carried {
    std::deque<CarriedAnswer> answers;
    std::size_t bytes = 0;  // of their texts
  };
  std::unique_ptr<Carried> carried_;
  TimeUs last_activity_;
  TimeUs line_since_ = 0;  // of a line that has begun; 0: none has
  // While send_blocked_: when the client last took something. While lingering: since when it has
  // all.
  TimeUs blocked_since_ = 0;
  std::size_t unread_when_blocked_ = 0;  // bytes in the kernel's buffer then
  std::uint64_t serial_ = 0;
  MemoryBudget::Account account_;
  std::uint32_t interest_ = 0;
  bool in_loop_ = false;
  Phase phase_ = Phase::kServing;
  bool waiting_for_queue_ = false;
  bool waiting_for_turn_ = false;  // the host was told, and will call take_turn()
  bool deaf_for_turn_ = false;     // the only reason why it is not read from
  bool sends_much_ = false;        // the last recv brought as much as it could
  bool starved_ = false;           // the host was told so, and has not come back to it
  bool held_for_memory_ = false;   // what it waits for is not the queue, but memory
  bool draining_ = false;
  Carry carry_ = Carry::kNo;
  Farewell farewell_ = Farewell::kLinger;
  bool send_blocked_ = false;  // the kernel took less than was due: wait for EPOLLOUT
};

}  // namespace pool_server
