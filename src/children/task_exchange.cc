#include "children/task_exchange.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "core/wipe.h"
#include "sys/clock.h"
#include "sys/memory.h"
#include "sys/packet.h"

namespace pool_server {

namespace {

// Messages in a row: who goes on logging is not to keep the worker from hearing that it is to stop.
constexpr int kMostAtOnce = 16;
// Where nothing runs, or after its end: all that a socket may hold, unless somebody goes on
// writing.
constexpr int kMostLast = 4096;

// What sendmmsg() takes, for `kMost` packets of a header and a text.
template <std::size_t kMost>
struct Packets {
  std::array<TaskHeader, kMost> headers;
  std::array<std::array<iovec, 2>, kMost> parts;
  std::array<mmsghdr, kMost> messages{};
  unsigned count = 0;

  void add(const TaskHeader& header, std::string_view text) {
    headers[count] = header;
    parts[count] = {
        {{&headers[count], sizeof(TaskHeader)}, {const_cast<char*>(text.data()), text.size()}}};
    messages[count].msg_hdr.msg_iov = parts[count].data();
    messages[count].msg_hdr.msg_iovlen = parts[count].size();
    ++count;
  }

  // Returns how many were sent. A process that has gone takes all: its end is told elsewhere.
  unsigned send(int socket) {
    for (;;) {
      const int sent = ::sendmmsg(socket, messages.data(), count, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent >= 0) return static_cast<unsigned>(sent);
      if (errno == EPIPE || errno == ECONNRESET) return count;
      if (errno == EINTR) continue;
      if (errno == ENOMEM || errno == ENOBUFS) ::usleep(kPauseWithoutMemory);
      return 0;
    }
  }
};

}  // namespace

void TaskExchange::meet(Child&, const ChildSettings& settings) {
  longest_reply_ = settings.longest_reply;
  generation_ = 0;
  number_ = static_cast<std::uint32_t>(-1);
  ahead_ = 0;
  over_ = false;
}

void TaskExchange::part() noexcept {
  ahead_ = 0;
  if (upcoming_ != nullptr) upcoming_->keep_reserved(0);
}

Exchange::Result TaskExchange::run(Child& child, const Ask& ask, std::string& reply) {
  surplus_ = ended_ = false;
  was_read_ = true;
  unsent_ = {};
  longest_ = longest_reply_(ask.request.size());
  ++number_;
  if (ahead_ > 0) {
    --ahead_;
    if (!over_ && ask.stop.stop_requested()) return stop(child, ask, reply);
  } else {
    begin(child, ask.request);
  }
  const std::size_t window = std::min(kWindow, ask.most_ahead);
  if (all_sent_ && !over_ && ahead_ < (window + 1) / 2) send_ahead(child, window - ahead_);
  const TimeUs late_at = monotonic_now() + kLong * 1'000;
  for (;;) {
    const Received received = receive_some(child, ask, reply, over_ ? kMostLast : kMostAtOnce);
    // With an end, too, all that came before it counts.
    if (is_all(received)) {
      ended_ = over_ && ahead_ == 0;
      return result_of(received);
    }
    if (over_ || received == Received::kEnd) {
      was_read_ = static_cast<std::int32_t>(child.claims()->claimed() - number_) > 0;
      return over_ ? Result::kEnded : Result::kSilent;
    }
    if (ahead_ > 0 && monotonic_now() >= late_at && !take_back(child)) begin(child, ask.request);
    switch (wait(child, ask, all_sent_ ? Watch::kNothing : Watch::kRoom, ahead_ > 0 ? kLong : -1)) {
      case Event::kReady:
      case Event::kDeaf:  // its end is still to be read
        send(child);
        break;
      case Event::kLate:
        break;
      case Event::kStopped:
        return stop(child, ask, reply);
      case Event::kEnded:
        over_ = true;
        break;
    }
  }
}

Exchange::Result TaskExchange::result_of(Received received) {
  switch (received) {
    case Received::kReply:
      return Result::kAnswered;
    case Received::kThrown:
      return Result::kThrown;
    case Received::kTooMuch:
      return Result::kTooLong;
    case Received::kNothing:
    case Received::kSome:
    case Received::kMalformed:
    case Received::kEnd:
      break;
  }
  return Result::kMalformed;
}

// What is short, or has not begun, is not worth a process.
Exchange::Result TaskExchange::stop(Child& child, const Ask& ask, std::string& reply) {
  if (!take_back(child)) {
    --number_;
    return Result::kWithdrawn;
  }
  const TimeUs until = monotonic_now() + kStopPatience;
  for (;;) {
    const Received received = receive_some(child, ask, reply, kMostAtOnce);
    if (received == Received::kEnd) return Result::kStopped;
    if (is_all(received)) return result_of(received);
    const TimeUs left = until - monotonic_now();
    if (left <= 0 || !wait_readable(child.input(), static_cast<int>(left / 1000 + 1))) {
      return Result::kStopped;
    }
  }
}

long TaskExchange::take_unasked(Child& child) {
  for (int i = 0; i < kMostLast; ++i) {
    const ssize_t size = ::recv(child.input(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (size < 0 && errno == ECONNRESET) continue;  // see receive()
    if (size <= 0) return size;
    std::string_view text(buffer_.data(), static_cast<std::size_t>(size));
    TaskHeader header;
    const bool is_log = take_raw(text, header) && (header.kind == TaskHeader::Kind::kLog ||
                                                   header.kind == TaskHeader::Kind::kFailed);
    wipe(std::span(buffer_).first(static_cast<std::size_t>(size)));
    if (!is_log) return size;  // a thread of its own may log at any time
  }
  return -1;
}

void TaskExchange::begin(const Child& child, std::string_view request) {
  unsent_ = request;
  all_sent_ = false;
  send(child);
}

// As much of it as there is room for.
void TaskExchange::send(const Child& child) {
  while (!all_sent_) {
    const std::string_view piece = unsent_.substr(0, kMostTaskPiece);
    const bool last = piece.size() == unsent_.size();
    Packets<1> packet;
    packet.add(
        {last ? TaskHeader::Kind::kWhole : TaskHeader::Kind::kPiece, 0, generation_, number_},
        piece);
    if (packet.send(child.input()) == 0) return;
    unsent_.remove_prefix(piece.size());
    all_sent_ = last;
  }
}

void TaskExchange::send_ahead(const Child& child, std::size_t most) {
  if (upcoming_ == nullptr) return;
  std::array<std::string_view, kWindow> texts;
  const std::size_t count = upcoming_->reserve(std::span(texts).first(most), kLongestAhead);
  if (count == 0) return;
  Packets<kWindow> packets;
  auto number = static_cast<std::uint32_t>(number_ + ahead_);
  for (const std::string_view text : std::span(texts).first(count)) {
    packets.add({TaskHeader::Kind::kWhole, 0, generation_, ++number}, text);
  }
  const unsigned sent = packets.send(child.input());
  ahead_ += sent;
  if (sent < count) upcoming_->keep_reserved(ahead_);
}

// Until there is a whole reply, or nothing more; kSome: it has been so many messages.
TaskExchange::Received TaskExchange::receive_some(const Child& child, const Ask& ask,
                                                  std::string& reply, int most) {
  for (int i = 0; i < most; ++i) {
    const Received received = receive(child, ask, reply);
    if (received != Received::kSome) return received;
  }
  return Received::kSome;
}

// There is no more to come of it.
bool TaskExchange::is_all(Received received) {
  return received != Received::kNothing && received != Received::kSome &&
         received != Received::kEnd;
}

TaskExchange::Received TaskExchange::receive(const Child& child, const Ask& ask,
                                             std::string& reply) {
  const ssize_t size = ::recv(child.input(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (size == 0) return Received::kEnd;
  if (size < 0) {
    // The kernel tells once that what the process had not read is lost; its replies come after
    // that.
    if (errno == EINTR || errno == ECONNRESET) return Received::kSome;
    return errno == EAGAIN ? Received::kNothing : Received::kEnd;
  }
  const std::span<char> bytes = std::span(buffer_).first(static_cast<std::size_t>(size));
  std::string_view text(bytes.data(), bytes.size());
  TaskHeader header;
  if (!take_raw(text, header)) return Received::kMalformed;
  Received received = Received::kSome;
  switch (header.kind) {
    case TaskHeader::Kind::kLog:
      if (ask.log != nullptr) ask.log->write(static_cast<LogLevel>(header.detail), text);
      wipe(bytes);
      return received;
    case TaskHeader::Kind::kFailed:
      if (ask.log != nullptr) ask.log->failed(text);
      wipe(bytes);
      return received;
    case TaskHeader::Kind::kThrown:
      received = Received::kThrown;
      break;
    case TaskHeader::Kind::kWhole:
    case TaskHeader::Kind::kError:
      outcome_ = header.kind == TaskHeader::Kind::kWhole ? Outcome::kOk : Outcome::kError;
      received = Received::kReply;
      if (upcoming_ != nullptr) upcoming_->was_work(header.detail);
      break;
    case TaskHeader::Kind::kPiece:
      break;
  }
  if (header.number != number_) {
    received = Received::kMalformed;  // whatever it is, it is for another
  } else if (text.size() > longest_ - std::min(longest_, reply.size())) {
    received = Received::kTooMuch;
  } else {
    reply.append(text);
  }
  wipe(bytes);
  return received;
}

// All that the process has not begun with; false: this request is among it.
bool TaskExchange::take_back(Child& child) {
  // How far it has come beyond this one. The numbers may wrap around, so only differences count.
  const auto begun = static_cast<std::int32_t>(child.claims()->end_generation() - number_);
  ++generation_;
  ahead_ = begun > 1 ? std::min(static_cast<std::size_t>(begun - 1), ahead_) : 0;
  if (upcoming_ != nullptr) upcoming_->keep_reserved(ahead_);
  return begun > 0;
}

}  // namespace pool_server
