#include "net/connection.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/wipe.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

// How long a client that is still sending gets to read our last words before the socket is closed
// under it (a close with unread input resets the connection and may take the replies with it).
constexpr TimeUs kLinger = 1'000'000;
// How often to look whether a client has taken in its last reply: no event tells.
constexpr TimeUs kLookForDelivery = 10'000;
constexpr TimeUs kLookLessOften = 100'000;  // once it takes in nothing for as long
// What it goes on sending is discarded so many receives at a time.
constexpr int kMostReceives = 16;

}  // namespace

Connection::Connection(ConnectionId id, UniqueFd&& socket, ConnectionHost& host)
    : id_(id), host_(host), last_activity_(host.loop().now()) {
  set_no_delay(socket.get());
  set_keep_alive(socket.get());
  interest_ = EPOLLIN;
  arm_timer(next_due());
  try {
    host_.loop().add(socket.get(), interest_, *this);
  } catch (...) {
    host_.timers().disarm(*this);
    throw;
  }
  in_loop_ = true;
  socket_ = std::move(socket);
  host_.memory().open(account_);
}

Connection::~Connection() {
  if (!closed()) leave_loop();
  host_.timers().disarm(*this);
  host_.memory().close(account_);
}

std::string Connection::peer() const {
  return proxied_ != nullptr && proxied_->known() ? proxied_->name() : peer_name(socket_.get());
}

PeerKey Connection::peer_key() const {
  return proxied_ != nullptr && proxied_->known() ? proxied_->key()
                                                  : pool_server::peer_key(socket_.get());
}

void Connection::expect_header() {
  proxied_ = std::make_unique<ProxiedClient>();
  line_since_ = host_.loop().now();
  arm_timer(next_due());
}

void Connection::on_events(std::uint32_t events) {
  attempt([&] {
    if (closed()) return;
    // HUP: both directions are shut. If it was not us who shut one, nobody is left to read a reply.
    const bool hung_up = (events & EPOLLHUP) != 0 && phase_ != Phase::kLingering;
    if ((events & EPOLLERR) != 0 || hung_up) {
      close(/*broken=*/phase_ != Phase::kLingering);
      return;
    }
    if ((events & EPOLLOUT) != 0) {
      send_blocked_ = false;
      host_.on_changed(*this);
    }
    if ((events & (EPOLLIN | EPOLLHUP)) != 0) {
      if (phase_ == Phase::kLingering) {
        discard_input();
      } else if (wait_ == Wait::kNone) {
        get_ready(Ready::kReadable);
      } else {  // the interest is stale
        host_.on_changed(*this);
      }
    }
  });
}

void Connection::fail(const std::exception& error) {
  host_.allowance().known = false;  // it may have been in the middle of a visit
  host_.on_failed(*this, error);
}

void Connection::refuse(std::string_view text, bool linger) {
  attempt([&] {
    writer_.append(text, host_.buffers());
    finish_up(linger ? Farewell::kLinger : Farewell::kShort);
  });
}

void Connection::finish_up(Farewell farewell) {
  attempt([&] {
    if (phase_ != Phase::kLingering) phase_ = Phase::kEnding;
    farewell_ = farewell;
    host_.on_changed(*this);
  });
}

Connection::Debt Connection::debt() const {
  const std::string_view unsent = writer_.unsent();
  const auto lines = static_cast<std::uint64_t>(std::ranges::count(unsent, '\n'));
  const std::size_t fin = phase_ == Phase::kLingering ? 1 : 0;
  const std::size_t sent = undelivered_output(socket_.get());
  return {writer_.unanswered() + lines, unsent.size() + sent - std::min(sent, fin)};
}

void Connection::reconfigure() {
  arm_timer(next_due());
  host_.on_changed(*this);
}

void Connection::restore(CarriedConnection&& from) {
  serial_ = from.serial;
  if (from.proxied != CarriedConnection::Proxied::kNo) {
    proxied_ = std::make_unique<ProxiedClient>();
    proxied_->restore(from);
  }
  reader_.restore(from);
  writer_.restore(std::move(from.unsent));
  if (!from.owed.empty()) {
    carried_ = std::make_unique<Carried>();
    for (CarriedAnswer& answer : from.owed) {
      carried_->bytes += answer.text.size();
      carried_->answers.push_back(std::move(answer));
    }
  }
  if (mid_line()) line_since_ = host_.loop().now();
  if (may_admit_more()) get_ready(Ready::kLeftOver);
  host_.on_changed(*this);
}

void Connection::prepare_to_carry(Carry how) {
  attempt([&] {
    if (refused || phase_ == Phase::kLingering) return;  // it is owed nothing but a last word
    // If it is being seen out, what it is owed comes, and no more.
    if (phase_ == Phase::kEnding) reader_.abandon();
    phase_ = how == Carry::kAsItIs ? Phase::kKept : Phase::kDelivering;
    // Should it end before, then as at a stop.
    if (how == Carry::kDelivered) farewell_ = Farewell::kDelivered;
    host_.on_changed(*this);
  });
}

bool Connection::is_owed() const {
  return writer_.has_unsent() || writer_.unanswered() > 0 || carried_ != nullptr ||
         reader_.held_line().has_value();
}

CarriedConnection Connection::carry(std::vector<RunPtr> undone) {
  CarriedConnection to;
  to.cookie = socket_cookie(socket_.get());
  to.serial = serial_;
  writer_.carry(std::move(undone), to);
  if (carried_ != nullptr) std::ranges::move(carried_->answers, std::back_inserter(to.owed));
  carried_.reset();
  if (const auto line = reader_.held_line()) {
    to.owed.push_back({CarriedAnswer::Kind::kRequest, Outcome::kOk, std::string(*line)});
  }
  reader_.carry(to);
  if (proxied_ != nullptr) proxied_->carry(to);
  return to;
}

void Connection::send_due() {
  if (!writer_.has_unsent() || send_blocked_ || closed() || phase_ == Phase::kLingering) return;
  attempt([&] {
    const IoResult sent = writer_.flush(socket_.get(), host_.buffers());
    if (sent.status == IoStatus::kError) {
      close(/*broken=*/true);
      return;
    }
    if (sent.bytes > 0) {
      last_activity_ = host_.loop().now();
      host_.on_sent(*this, sent.bytes);
    }
    send_blocked_ = writer_.has_unsent();
    if (send_blocked_) {
      blocked_since_ = host_.loop().now();
      unread_when_blocked_ = unacknowledged_output(socket_.get());
    }
  });
}

void Connection::settle() {
  attempt([&] {
    if (closed() || phase_ == Phase::kLingering) return;
    settle_account();  // what was sent is held no more, whatever follows
    if (may_admit_more()) get_ready(Ready::kLeftOver);
    if (complete()) {
      finish();
    } else {
      update_interest();
      // Who has just been heard is judged here: at the time of its timer it had something to say.
      const Due due = next_due();
      const TimeUs now = host_.loop().now();
      if (!expire(due, now)) arm_timer(due.at > now ? due : next_due());
    }
  });
}

// Before the socket is closed: a duplicate of it elsewhere would keep its events coming.
void Connection::leave_loop() {
  if (std::exchange(in_loop_, false)) host_.loop().remove(socket_.get());
}

void Connection::close(bool broken) {
  if (closed()) return;
  leave_loop();
  host_.timers().disarm(*this);
  socket_.reset();
  host_.memory().set(account_, 0, 0);
  host_.on_closed(*this, broken);
}

// Nothing more will come in, and nothing is owed.
bool Connection::complete() const {
  const bool input_done = reader_.at_end_of_input() || phase_ == Phase::kEnding;
  return input_done && !may_have_request() && !waits_for_room() && writer_.unanswered() == 0 &&
         !writer_.has_unsent();
}

// Ends the connection so that the last reply arrives: with a FIN, and without a reset.
void Connection::finish() {
  if (reader_.end_was_seen() && farewell_ != Farewell::kDelivered) {
    close(/*broken=*/false);
    return;
  }
  shut_down_sending(socket_.get());
  phase_ = Phase::kLingering;
  if (farewell_ == Farewell::kDelivered) {
    // No event tells of delivery, and a hang-up, once the client has ended its side as well, cannot
    // be left out: from here on the timer alone looks after it.
    leave_loop();
    blocked_since_ = 0;
    look_for_delivery();
    return;
  }
  host_.timers().arm(*this, host_.loop().now() + kLinger);
  update_interest();
  discard_input();
}

// Nothing of the client's may be left unread, or closing would be a reset, which takes with it what
// is under way.
void Connection::discard_input() {
  // Who is to go at once has no event to wait for, once all that it had sent is read.
  const bool at_once = farewell_ == Farewell::kShort;
  const IoStatus status = receive_and_forget(at_once ? kMostReceives : 1);
  const bool quiet = status == IoStatus::kAgain && at_once;
  if (status == IoStatus::kEof || status == IoStatus::kError || quiet) close(/*broken=*/false);
}

IoStatus Connection::receive_and_forget(int most) {
  IoStatus status = IoStatus::kOk;
  for (; most > 0 && status == IoStatus::kOk; --most) {
    const auto [result, received] = receive_some(SIZE_MAX);
    wipe(received);
    status = result.status;
  }
  return status;
}

// Closes when the client's side has taken in all, and either has nothing more to say or has gone on
// saying it for too long.
void Connection::look_for_delivery() {
  const TimeUs now = host_.loop().now();
  const IoStatus status = receive_and_forget(kMostReceives);
  const std::size_t undelivered = undelivered_output(socket_.get());
  if (undelivered == 0 && blocked_since_ == 0) blocked_since_ = now;  // all is delivered since then
  const bool said_all = status != IoStatus::kOk;
  if (status == IoStatus::kError ||
      (undelivered == 0 && (said_all || now - blocked_since_ >= kLinger))) {
    close(/*broken=*/false);
    return;
  }
  if (undelivered != unread_when_blocked_) last_activity_ = now;
  unread_when_blocked_ = undelivered;
  const bool moves = now - last_activity_ < kLookLessOften;
  host_.timers().arm(*this, now + (moves ? kLookForDelivery : kLookLessOften));
}

void Connection::update_interest() {
  std::uint32_t wanted = 0;
  if (phase_ == Phase::kLingering || may_read()) wanted |= EPOLLIN;
  // Whatever else is in the way, it does no harm to be asked again.
  const bool wants_memory = !reads_no_more() || may_have_request();
  const bool short_of_memory =
      (!reads_no_more() && room_to_read() == 0) || (wants_memory && room_to_admit() == 0);
  if (phase_ != Phase::kLingering && short_of_memory && !std::exchange(starved_, true)) {
    host_.on_starved(*this);
  }
  if (send_blocked_) wanted |= EPOLLOUT;
  if (wanted == interest_) {
    deaf_for_turn_ = deaf_for_turn_ && wait_ == Wait::kTurn;
    return;
  }
  // The time that we did not read was not the client's, unless it sends too much at a time.
  if ((wanted & ~interest_ & EPOLLIN) != 0 && line_since_ != 0 && !deaf_for_turn_) {
    line_since_ = host_.loop().now();
  }
  deaf_for_turn_ = wait_ == Wait::kTurn && !has_backlog();
  interest_ = wanted;
  host_.loop().modify(socket_.get(), interest_, *this);
}

Connection::Due Connection::next_due() {
  const ConnectionTimeouts& timeouts = host_.timeouts();
  Due due;
  const auto consider = [&due](TimeUs timeout, TimeUs since, Expiry expiry) {
    if (timeout > 0 && since + timeout < due.at) due = {since + timeout, expiry};
  };
  // At a stop the end of the drain is the time-out of who does not read.
  const bool stopping = reads_no_more() && farewell_ == Farewell::kDelivered;
  if (send_blocked_) {
    if (!stopping) consider(timeouts.send, blocked_since_, Expiry::kSend);
  } else if (line_since_ != 0 && !reads_no_more() &&
             (may_read() || starved_)) {  // half a line holds memory, too
    consider(timeouts.line, line_since_, Expiry::kLine);
  }
  // Who is about to be visited may have sent something that was not read yet.
  const bool idle = !writer_.has_unsent() && writer_.unanswered() == 0 && !may_have_request() &&
                    wait_ != Wait::kTurn;
  if (idle && !to_be_carried()) {  // who is about to be carried over is not asked to talk
    consider(timeouts.idle, last_activity_, Expiry::kIdle);
  }
  return due;
}

// The timer is only ever moved forward here: it looks when it fires whether its reason still holds.
void Connection::arm_timer(const Due& due) {
  if (phase_ == Phase::kLingering) return;
  const TimeUs at = due.at;
  if (at != kNever && (!armed() || at < this->at())) host_.timers().arm(*this, at);
}

void Connection::on_time(TimeUs now) {
  attempt([&] {
    if (phase_ == Phase::kLingering) {
      if (farewell_ == Farewell::kDelivered) {
        look_for_delivery();
      } else {
        close(/*broken=*/false);
      }
      return;
    }
    // Others may have changed what it may do since it was last looked at.
    if (!expire(next_due(), now)) host_.on_changed(*this);
  });
}

// Whether its time is over.
bool Connection::expire(const Due& due, TimeUs now) {
  if (due.at > now || is_excused(due.expiry)) return false;
  host_.on_expired(*this, due.expiry);
  // While it is being seen out, it is not to keep memory that others wait for.
  if (phase_ == Phase::kEnding && !closed()) {
    reader_.forget_half_line();
    settle_account();
  }
  return true;
}

// It had its reasons, and has its time once more.
bool Connection::is_excused(Expiry expiry) {
  if (expiry == Expiry::kSend) return reads_on();
  return (expiry == Expiry::kLine && line_is_here()) || is_unheard();
}

// After a standstill time is over for many of whom the loop has not come to hear yet.
bool Connection::is_unheard() const {
  constexpr TimeUs kNow = 0;
  return in_loop_ && (interest_ & EPOLLIN) != 0 && wait_for_input(socket_.get(), kNow);
}

// Where the server does not read, the rest of a line may be waiting for it, or the end of the
// input, which makes a line of what came last: then it is not the client that is slow. Nor while
// what it had asked before a restart waits, which has its place before any error.
bool Connection::line_is_here() {
  if (!starved_) return false;
  constexpr TimeUs kNow = 0;
  const bool here =
      carried_ != nullptr || reader_.has_whole_line() || wait_for_input(socket_.get(), kNow);
  if (!here) return false;
  line_since_ = host_.loop().now();
  return true;
}

// A slow reader is one all the same: the kernel asks for more only when a good part of its buffer
// is free, so look at how much is still in there.
bool Connection::reads_on() {
  const std::size_t unread = unacknowledged_output(socket_.get());
  if (unread == unread_when_blocked_) return false;
  unread_when_blocked_ = unread;
  blocked_since_ = host_.loop().now();
  return true;
}

}  // namespace pool_server
