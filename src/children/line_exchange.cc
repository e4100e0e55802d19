#include "children/line_exchange.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "core/protocol.h"
#include "core/wipe.h"
#include "sys/packet.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

constexpr std::string_view kErrorPrefix = "ERROR: ";

// Or nobody reads it any more.
bool is_writable(int fd) {
  pollfd poll_fd{fd, POLLOUT, 0};
  return ::poll(&poll_fd, 1, 0) > 0;
}

}  // namespace

// To many a program a carriage return ends a line (universal newlines), so that the rest would be
// another one.
std::string_view LineExchange::refuses(std::string_view request) const {
  return request.find('\r') == std::string_view::npos ? std::string_view()
                                                      : protocol::kCarriageReturn;
}

void LineExchange::meet(Child& child, const ChildSettings& settings) {
  longest_ = settings.max_reply;
  size_pipe(child.input());
}

Exchange::Result LineExchange::run(Child& child, const Ask& ask, std::string& reply) {
  sent_ = 0;
  surplus_ = ended_ = false;
  outcome_ = Outcome::kOk;
  const Result result = exchange(child, ask, reply);
  if (result != Result::kAnswered) {
    was_read_ = has_read(child);
    return result;
  }
  const std::size_t unread = unread_input(child.input());
  if (unread == sent_) return Result::kOutOfStep;
  if (std::string_view(reply).starts_with(kErrorPrefix)) {
    reply.erase(0, kErrorPrefix.size());
    outcome_ = Outcome::kError;
  }
  surplus_ |= unread > 0;  // what it left of the request would be its next one
  if (reply.size() > longest_) refuse(protocol::reply_too_long(longest_), reply);
  if (protocol::has_control_bytes(reply)) refuse(protocol::kBadReply, reply);
  return result;
}

Exchange::Result LineExchange::exchange(Child& child, const Ask& ask, std::string& reply) {
  const std::string_view request = ask.request;
  Watch watch = send_first(child, request) ? Watch::kRoom : Watch::kReader;
  for (bool first = watch == Watch::kRoom; first;) {
    const Event event = wait(child, ask, watch);
    if (event == Event::kStopped) return Result::kStopped;
    if (event == Event::kEnded) return Result::kEnded;
    first = !is_writable(child.input());
    // What it wrote before it read is there by now. A filter may echo half a line.
    if (!wait_readable(child.output(), 0)) continue;
    const bool unasked = !has_read(child);
    const Received received = receive(child, reply);
    if (received == Received::kEnd) return Result::kSilent;
    if (received == Received::kLine || unasked) return Result::kOutOfStep;
    if (received == Received::kTooMuch) return Result::kTooLong;
  }
  if (request.size() > kPipeSize && !large_) {
    large_ = ::fcntl(child.input(), F_SETPIPE_SZ, kLargePipeSize) > kPipeSize;
  }
  bool has_line = false;
  for (;;) {
    if (watch == Watch::kRoom && (!send(child, request) || sent_ > request.size())) {
      watch = Watch::kReader;
    }
    if (has_line && watch != Watch::kRoom) return Result::kAnswered;
    const Event event = wait(child, ask, watch);
    if (event == Event::kStopped) return Result::kStopped;
    if (event == Event::kDeaf) {
      if (!has_read(child)) return Result::kDeaf;
      watch = Watch::kNothing;  // it may answer what it has read
      continue;
    }
    if (has_line) {
      surplus_ |= wait_readable(child.output(), 0);
      ended_ = event == Event::kEnded;
      if (surplus_ || ended_) return Result::kAnswered;
      continue;
    }
    Received received = receive(child, reply);
    if (event == Event::kEnded) {  // all that it wrote is there
      while (received == Received::kSome && wait_readable(child.output(), 0)) {
        received = receive(child, reply);
      }
      ended_ = true;
      if (received == Received::kLine) return Result::kAnswered;
      return received == Received::kTooMuch ? Result::kTooLong : Result::kEnded;
    }
    if (received == Received::kTooMuch) return Result::kTooLong;
    if (received == Received::kEnd) return Result::kSilent;
    has_line = received == Received::kLine;
  }
}

void LineExchange::size_pipe(int input) {
  (void)::fcntl(input, F_SETPIPE_SZ, kPipeSize);
}

bool LineExchange::has_read(const Child& child) const {
  return unread_input(child.input()) != sent_;
}

long LineExchange::take_unasked(Child& child) {
  const ssize_t size = ::read(child.output(), buffer_.data(), buffer_.size());
  if (size > 0) wipe(std::span(buffer_).first(static_cast<std::size_t>(size)));
  return size;
}

bool LineExchange::send_first(const Child& child, std::string_view request) {
  if (std::exchange(large_, false)) size_pipe(child.input());
  return send(child, request.substr(0, 1), /*whole=*/false);
}

// False: nothing more can be sent.
bool LineExchange::send(const Child& child, std::string_view text, bool whole) {
  static constexpr char kLineEnd = '\n';
  const std::string_view rest = text.substr(std::min(sent_, text.size()));
  const iovec parts[2] = {{const_cast<char*>(rest.data()), rest.size()},
                          {const_cast<char*>(&kLineEnd), 1}};
  ssize_t size = 0;
  do {
    size = ::writev(child.input(), parts, whole ? 2 : 1);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return is_for_now(errno);
  sent_ += static_cast<std::size_t>(size);
  return true;
}

LineExchange::Received LineExchange::receive(const Child& child, std::string& reply) {
  const ssize_t size = ::read(child.output(), buffer_.data(), buffer_.size());
  if (size < 0) return Received::kSome;
  if (size == 0) return Received::kEnd;
  const std::span<char> received = std::span(buffer_).first(static_cast<std::size_t>(size));
  const auto length =
      static_cast<std::size_t>(std::ranges::find(received, '\n') - received.begin());
  const bool too_much = length > longest_ + kErrorPrefix.size() - reply.size();
  if (!too_much) reply.append(received.data(), length);
  surplus_ = length + 1 < received.size();
  wipe(received);
  if (too_much) return Received::kTooMuch;
  return length < received.size() ? Received::kLine : Received::kSome;
}

}  // namespace pool_server
