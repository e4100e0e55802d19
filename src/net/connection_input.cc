// The input side of a Connection: what is read, how it becomes requests, and whose turn it is.

#include <algorithm>
#include <utility>

#include "core/wipe.h"
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
          .waiting_for_queue = waiting_for_queue_,
          .no_room_to_read = room_to_read() == 0,
          .no_room_to_admit = room_to_admit() == 0,
          .draining = draining_};
}

// There is something to admit without reading, and nothing in its way.
bool Connection::may_admit_more() {
  return !waiting_for_queue_ && !admits_no_more() &&
         (carried_ != nullptr || reader_.may_have_line()) && may_admit(load(), host_.limits());
}

// Received or carried over, and not admitted: its turn comes before the socket's.
bool Connection::has_backlog() const {
  return carried_ != nullptr || reader_.has_backlog();
}

bool Connection::may_read() {
  return !waiting_for_turn_ && !has_backlog() && pool_server::may_read(load(), host_.limits());
}

void Connection::read() {
  if (!may_read()) {  // the interest is stale: something else of this round closed the gate
    host_.on_changed(*this);
    return;
  }
  if (sends_much_ && host_.budget().used_up()) {
    wait_for_turn();
    host_.on_changed(*this);
    return;
  }
  const auto [result, received] = receive_some(room_to_read());
  switch (result.status) {
    case IoStatus::kAgain:
      return;
    case IoStatus::kError:
      close(/*broken=*/true);
      return;
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
  admit_lines();
  wipe(received);
  host_.on_changed(*this);
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
// the next one.
std::pair<IoResult, std::span<char>> Connection::receive_some(std::size_t most) {
  const std::span<char> scratch = host_.buffers().scratch();
  most = std::min({most, scratch.size(), host_.budget().bytes_of_visit()});
  const IoResult result = receive(socket_.get(), scratch.first(most));
  host_.budget().spend_bytes(result.bytes);
  sends_much_ = result.bytes == most;
  return {result, scratch.first(result.bytes)};
}

// What is owed from before a restart comes first, `lines` of it at most. False: some of it still
// waits.
bool Connection::admit_carried(std::size_t& lines) {
  for (; carried_ != nullptr && may_admit_more() && lines > 0; --lines) {
    if (!host_.on_carried_answer(*this, carried_->answers.front())) {
      waiting_for_queue_ = true;
      return false;
    }
    carried_->bytes -= carried_->answers.front().text.size();
    carried_->answers.pop_front();
    if (carried_->answers.empty()) carried_.reset();
  }
  return carried_ == nullptr;
}

void Connection::admit_lines() {
  const std::size_t granted = host_.budget().lines_of_visit();
  std::size_t lines = granted;
  const bool any = admit_carried(lines) && admit_decoded(lines);
  host_.budget().spend_lines(granted - lines);
  reader_.keep_rest(host_.buffers());
  if (!mid_line()) {
    line_since_ = 0;
  } else if (any || line_since_ == 0) {
    line_since_ = host_.loop().now();
  }
  // Only what is over the budget can be left that may be admitted.
  if (may_admit_more()) wait_for_turn();
}

// Cuts lines out of what was received and admits `lines` of them at most; whether there were any.
bool Connection::admit_decoded(std::size_t& lines) {
  bool any = false;
  for (; lines > 0 && !waiting_for_queue_ && may_admit(load(), host_.limits()); --lines) {
    const auto line = reader_.next(host_.max_line());
    if (!line) break;
    any = true;
    if (line->too_long) {
      host_.on_line_too_long(*this);
    } else if (!host_.on_request(*this, line->text)) {
      reader_.hold(*line);
      waiting_for_queue_ = true;
    }
  }
  return any;
}

void Connection::resume() {
  attempt([&] {
    if (closed() || admits_no_more()) return;
    waiting_for_queue_ = false;
    admit_lines();
    host_.on_changed(*this);
  });
}

void Connection::take_turn() {
  attempt([&] {
    waiting_for_turn_ = false;
    if (closed() || admits_no_more()) return;
    if (has_backlog()) {
      admit_lines();
    } else if (may_read()) {
      read();
    }
    host_.on_changed(*this);
  });
}

void Connection::wait_for_turn() {
  if (std::exchange(waiting_for_turn_, true)) return;
  host_.on_turn_over(*this);
}

void Connection::starve() {
  held_for_memory_ = true;
  if (!std::exchange(starved_, true)) host_.on_starved(*this);
}

void Connection::memory_may_be_free() {
  attempt([&] {
    // Up to here it had to wait, and its time must not be over before it is looked at.
    if (line_since_ != 0) (void)line_is_here();
    starved_ = false;
    if (std::exchange(held_for_memory_, false)) waiting_for_queue_ = false;
    if (!waiting_for_queue_ && !waiting_for_turn_ && !admits_no_more()) admit_lines();
    host_.on_changed(*this);
  });
}

}  // namespace pool_server
