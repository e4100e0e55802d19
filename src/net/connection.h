#pragma once

#include <cstddef>
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
#include "core/snapshot.h"
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
  // A visit of the host, which takes from it what it has to ask, line after line: if
  // begin_visit(), then hear(). What was left over comes first; without that, it receives once,
  // into the host's buffers, and that is to be let go when it has been heard. False: there is
  // nothing to take.
  bool begin_visit();
  struct Item {
    enum class Kind : unsigned char {
      kNothing,  // is not given out
      kRequest,  // `text`
      kTooLong,  // a line of more than max_line() bytes, which is being skipped
      kCarried,  // `carried`: an answer that was owed when the server was restarted
    };
    Kind kind = Kind::kNothing;
    std::string_view text;
    const CarriedAnswer* carried = nullptr;
  };
  // Calls `take(item)` for one after the other, within its limits and for as long as its turn
  // lasts; what is left over waits for another one. An item is taken, unless it is put back in that
  // call, and valid no longer.
  template <class Take>
  void hear(Take take) {
    const std::size_t granted = host_.budget().lines_of_visit();
    std::size_t lines = granted;
    for (; lines > 0; --lines) {
      const Item item = next();
      if (item.kind == Item::Kind::kNothing) break;
      take(item);
    }
    host_.budget().spend_lines(granted - lines);
    end_visit();
  }
  // What it waits for before it gives anything more: one thing at a time.
  //
  //   kNone   → kTurn    it can be read from, or something is left over (get_ready)
  //   kTurn   → kNone    it is visited (begin_visit)
  //   kNone   → kRoom    in a visit: its request was put back, for want of room in the queue
  //   kRoom   → kNone    its turn in the line for that has come (wait_is_over)
  //   kNone   → kMemory  in a visit: put back for want of memory
  //   kMemory → kNone    some may be free (memory_may_be_free)
  enum class Wait : unsigned char { kNone, kTurn, kRoom, kMemory };
  // There is no room for it now, kRoom or kMemory: it comes again in a visit afterwards. Until then
  // nothing more is read.
  void put_back(const Item& item, Wait wait);
  // Waits for room no more; a visit is to follow.
  void wait_is_over() { wait_ = Wait::kNone; }
  // Its place in the reply order for what next() gave, charged so.
  std::uint64_t reserve(std::size_t charge) {
    host_.allowance().take(charge);
    return writer_.reserve(charge);
  }
  // How many bytes more it may be charged with (see MemoryBudget), for input and for a request.
  std::size_t room_to_read() const { return host_.memory().room_to_read(account_); }
  std::size_t room_to_admit() const {
    return host_.allowance().known ? host_.allowance().memory : memory_to_admit();
  }
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
  bool to_be_carried() const { return phase_ == Phase::kKept || phase_ == Phase::kDelivering; }
  // Gives away what a restart carries over; `undone` as for ReplyWriter::carry. To be closed next.
  CarriedConnection carry(std::vector<RunPtr> undone);
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
  // The end of a round for who has changed: first sends what is due, then derives from its state
  // what it waits for, and ends what is complete. Two steps, as what all have to send is sent in
  // one go: what runs between two system calls is then short, and stays in the caches.
  void send_due();
  void settle();
  void close(bool broken);

  ReplyWriter& writer() { return writer_; }
  const ReplyWriter& writer() const { return writer_; }
  BufferPool& buffers() { return host_.buffers(); }
  // Its writer was given something.
  void changed() {
    host_.allowance().known = false;
    host_.on_changed(*this);
  }
  // One of its requests was answered: what waited for that may be heard in the next round.
  void may_go_on() {
    if (has_backlog()) get_ready(Ready::kLeftOver);
  }
  bool closed() const { return !socket_.valid(); }
  bool waits_for_room() const { return wait_ == Wait::kRoom || wait_ == Wait::kMemory; }

  // For the host: it is on the list of connections to settle; its STATS are to be told at the end
  // of the round; it was refused and only hears why.
  bool listed = false;
  bool awaits_stats = false;
  bool refused = false;
  // Counted by the host: requests for workers, and how long those were at work on them, in µs.
  std::uint64_t requests = 0;
  TimeUs had_work_for = 0;

 private:
  // Where it is in its life; all but the first read no more requests.
  //
  //   kServing → kEnding                         finish_up()
  //   kServing, kEnding → kKept or kDelivering   prepare_to_carry()
  //   kKept, kDelivering → kEnding               finish_up(), as it stays after all
  //   any of these three → kLingering            finish(): it is complete()
  //   any → closed()                             close(), and finish() when the client has ended
  enum class Phase : unsigned char {
    kServing,
    kEnding,      // hears what it is owed
    kKept,        // waits to be carried over, with what it is owed
    kDelivering,  // the same, and hears what it is owed until then
    kLingering,   // all is said and our FIN is sent: discard input until the client closes too
  };

  void fail(const std::exception& error);
  ConnectionLoad load();
  void settle_account();
  std::size_t memory_to_admit() const { return host_.memory().room_to_admit(account_); }
  bool has_backlog() const;
  bool may_have_request() const;
  bool may_read();
  bool receive_input();
  void get_ready(Ready how);
  bool has_allowance();
  Item next();  // kNothing: here and now
  void end_visit();
  bool reads_no_more() const { return phase_ != Phase::kServing; }
  bool admits_no_more() const { return phase_ == Phase::kKept; }
  bool take_header(std::string_view& input);
  std::pair<IoResult, std::span<char>> receive_some(std::size_t most);
  bool may_admit_more();
  void starve();
  bool complete() const;
  void finish();
  void discard_input();
  IoStatus receive_and_forget(int most);  // at most so often; what the last one came to
  void look_for_delivery();
  void leave_loop();
  void update_interest();
  void on_time(TimeUs now) override;
  bool is_excused(Expiry expiry);
  bool is_unheard() const;
  bool reads_on();
  bool line_is_here();
  bool mid_line() const { return awaits_header() || reader_.mid_line(); }
  struct Due {
    TimeUs at = kNever;
    Expiry expiry = Expiry::kIdle;
  };
  Due next_due();
  bool expire(const Due& due, TimeUs now);
  void arm_timer(const Due& due);

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
    bool given = false;     // the first was given out, and is done with unless it is put back
  };
  void drop_given();
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
  Wait wait_ = Wait::kNone;
  bool any_line_ = false;       // in this visit
  bool deaf_for_turn_ = false;  // its turn is the only reason why it is not read from
  bool sends_much_ = false;     // the last recv brought as much as it could
  bool starved_ = false;        // the host was told so, and has not come back to it
  Farewell farewell_ = Farewell::kLinger;
  bool send_blocked_ = false;  // the kernel took less than was due: wait for EPOLLOUT
};

}  // namespace pool_server
