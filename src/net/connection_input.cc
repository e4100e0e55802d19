// The input side of a Connection: what is read, how it becomes requests, and whose turn it is.

#include <algorithm>
#include <utility>

#include "net/connection.h"
#include "sys/socket.h"

namespace pool_server {

void Connection::settle_account() {
  const std::size_t carried = carried_ == nullptr ? 0 : carried_->bytes;
  const std::size_t header = proxied_ == nullptr ? 0 : proxied_->bytes_held();
  host_.memory().set(account_, reader_.bytes_held() + carried + header, writer_.bytes_owed());
}

ConnectionLoad Connection::load() {
  settle_account();
  return {.unanswered = writer_.unanswered(),
          .bytes_owed = writer_.bytes_owed(),
          .end_of_input = reader_.at_end_of_input(),
          .waiting_for_queue = waits_for_room(),
          .no_room_to_read = room_to_read() == 0,
          .no_room_to_admit = memory_to_admit() == 0,
          .draining = reads_no_more()};
}

// There is something to admit without reading, and nothing in its way.
bool Connection::may_admit_more() {
  return !waits_for_room() && !admits_no_more() && may_have_request() &&
         may_admit(load(), host_.limits());
}

// Received or carried over, and not admitted: its turn comes before the socket's.
bool Connection::has_backlog() const {
  return carried_ != nullptr || reader_.has_backlog();
}

// Something is left to admit without reading.
bool Connection::may_have_request() const {
  return carried_ != nullptr || reader_.may_have_line();
}

bool Connection::may_read() {
  return wait_ != Wait::kTurn && !has_backlog() && pool_server::may_read(load(), host_.limits());
}

void Connection::get_ready(Ready how) {
  if (wait_ != Wait::kNone) return;
  wait_ = Wait::kTurn;
  host_.on_ready(*this, how);
}

bool Connection::begin_visit() {
  if (closed() || waits_for_room()) return false;
  wait_ = Wait::kNone;
  any_line_ = false;
  if (admits_no_more() || phase_ == Phase::kLingering) return false;
  if (has_backlog()) return true;
  if (may_read()) return receive_input();
  if (reader_.may_have_line()) return true;  // what it ended with, without a line end
  host_.on_changed(*this);                   // something else of this round closed the gate
  return false;
}

// One receive. False: it brought nothing, and no end.
bool Connection::receive_input() {
  if (sends_much_ && host_.budget().used_up()) {
    get_ready(Ready::kLeftOver);
    host_.on_changed(*this);
    return false;
  }
  const auto [result, received] = receive_some(room_to_read());
  host_.buffers().keep_input(received.size());
  switch (result.status) {
    case IoStatus::kAgain:
      host_.on_changed(*this);
      return false;
    case IoStatus::kError:
      close(/*broken=*/true);
      return false;
    case IoStatus::kEof:
      if (awaits_header() && proxied_->has_begun()) host_.on_bad_header(*this);
      reader_.end_of_input();
      break;
    case IoStatus::kOk:
      last_activity_ = host_.loop().now();
      host_.on_received(*this, result.bytes);
      std::string_view input(received.data(), received.size());
      if (!awaits_header() || take_header(input)) reader_.feed(input);
      break;
  }
  return true;
}

// Takes the proxy's header off `input`. False: nothing of what is left is the client's to ask.
bool Connection::take_header(std::string_view& input) {
  switch (proxied_->take(input)) {
    case ProxyHeaderState::kIncomplete:
      return false;
    case ProxyHeaderState::kInvalid:
      host_.on_bad_header(*this);
      return false;
    case ProxyHeaderState::kComplete:
      break;
  }
  if (!proxied_->is_told()) proxied_.reset();
  line_since_ = 0;
  host_.on_client_known(*this);
  return !refused;
}

// One recv, of `most` bytes and of what the round's budget has left. What it brought lives until
// the next one, unless it is kept.
std::pair<IoResult, std::span<char>> Connection::receive_some(std::size_t most) {
  const std::span<char> room = host_.buffers().input_room();
  most = std::min({most, room.size(), host_.budget().bytes_of_visit()});
  const IoResult result = receive(socket_.get(), room.first(most));
  host_.budget().spend_bytes(result.bytes);
  sends_much_ = result.bytes == most;
  return {result, room.first(result.bytes)};
}

bool Connection::has_allowance() {
  VisitAllowance& left = host_.allowance();
  if (!left.known) {
    settle_account();
    const ConnectionLimits& limits = host_.limits();
    const auto rest = [](std::size_t limit, std::size_t taken) {
      return limit - std::min(limit, taken);
    };
    const std::size_t memory = memory_to_admit();
    left = {.known = true,
            .requests = rest(limits.max_unanswered, writer_.unanswered()),
            .owed = rest(limits.max_bytes_owed, writer_.bytes_owed()),
            .memory = memory,
            .holds = account_.bytes > 0 && memory != SIZE_MAX};
  }
  return left.requests > 0 && left.owed > 0 && left.memory > 0;
}

// What is owed from before a restart comes first.
Connection::Item Connection::next() {
  if (carried_ != nullptr) drop_given();
  if (carried_ == nullptr && !reader_.has_input()) return {};
  if (waits_for_room() || !has_allowance()) return {};
  if (carried_ != nullptr) {
    carried_->given = true;
    return {.kind = Item::Kind::kCarried, .text = {}, .carried = &carried_->answers.front()};
  }
  const auto line = reader_.next(host_.max_line());
  if (!line) return {};
  any_line_ = true;
  return {.kind = line->too_long ? Item::Kind::kTooLong : Item::Kind::kRequest, .text = line->text};
}

void Connection::drop_given() {
  if (!std::exchange(carried_->given, false)) return;
  carried_->bytes -= carried_->answers.front().text.size();
  carried_->answers.pop_front();
  host_.allowance().known = false;
  if (carried_->answers.empty()) carried_.reset();
}

void Connection::put_back(const Item& item, Wait wait) {
  wait_ = wait;
  if (item.kind == Item::Kind::kCarried) {
    carried_->given = false;
  } else {
    reader_.hold({.too_long = false, .text = item.text});
  }
  if (wait == Wait::kMemory) starve();
}

void Connection::end_visit() {
  host_.allowance().known = false;
  if (closed()) return;
  if (carried_ != nullptr) drop_given();
  reader_.keep_rest(host_.buffers());
  settle_account();  // those who are heard next in this round are to know
  if (!mid_line()) {
    line_since_ = 0;
  } else if (any_line_ || line_since_ == 0) {
    line_since_ = host_.loop().now();
  }
  // Only what is over the budget can be left that may be admitted.
  if (may_admit_more()) get_ready(Ready::kLeftOver);
  host_.on_changed(*this);
}

void Connection::starve() {
  if (!std::exchange(starved_, true)) host_.on_starved(*this);
}

void Connection::memory_may_be_free() {
  attempt([&] {
    // Up to here it had to wait, and its time must not be over before it is looked at.
    if (line_since_ != 0) (void)line_is_here();
    starved_ = false;
    if (wait_ == Wait::kMemory) wait_ = Wait::kNone;
    if (may_admit_more()) get_ready(Ready::kLeftOver);
    host_.on_changed(*this);
  });
}

}  // namespace pool_server
