#include "children/frame_exchange.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "core/protocol.h"
#include "core/wipe.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

using Found = FrameDecoder::Found;

// At once: who goes on writing is not to keep the worker from hearing that it is to stop.
constexpr int kMostReads = 16;
// After its end: all that a pipe may hold that was enlarged as far as an ordinary user can, unless
// somebody else goes on writing.
constexpr int kMostReadsAtEnd = 64;

// Most significant byte first, as everywhere between programs.
void put(std::uint32_t value, char* to) {
  for (int shift = 24; shift >= 0; shift -= 8) *to++ = static_cast<char>(value >> shift);
}

}  // namespace

void FrameExchange::meet(Child&, const ChildSettings& settings) {
  longest_ = settings.max_reply;
  frames_.begin();
}

Exchange::Result FrameExchange::run(Child& child, const Ask& ask, std::string& reply) {
  surplus_ = ended_ = false;
  was_read_ = true;
  outcome_ = Outcome::kOk;
  sent_ = 0;
  frames_.expect(++number_);
  put(static_cast<std::uint32_t>(ask.request.size()), request_header_.data());
  put(number_, request_header_.data() + 4);
  const std::size_t size = kRequestHeader + ask.request.size();
  Watch watch = Watch::kRoom;
  for (;;) {
    if (watch == Watch::kRoom && (!send(child, ask.request) || sent_ == size)) {
      watch = Watch::kReader;
    }
    const Event event = wait(child, ask, watch);
    if (event == Event::kStopped) return Result::kStopped;
    if (event == Event::kDeaf) {
      was_read_ = unread_input(child.input()) != sent_;
      if (!was_read_) return Result::kDeaf;
      watch = Watch::kNothing;  // it may answer what it has read
      continue;
    }
    const std::optional<Found> received =
        receive(child, reply, event == Event::kEnded ? kMostReadsAtEnd : kMostReads);
    if (received == Found::kTooMuch) return Result::kTooLong;
    if (received == Found::kMalformed) return Result::kMalformed;
    ended_ = event == Event::kEnded;
    if (received == Found::kReply) {
      const std::size_t unread = unread_input(child.input());
      if (unread == sent_) return Result::kOutOfStep;
      // What it left of the request would be its next one.
      surplus_ |= sent_ < size || unread > 0;
      outcome_ = frames_.outcome();
      if (protocol::has_control_bytes(reply)) refuse(protocol::kBadReply, reply);
      return Result::kAnswered;
    }
    if (ended_ || !received) {
      was_read_ = unread_input(child.input()) != sent_;
      return ended_ ? Result::kEnded : Result::kSilent;
    }
  }
}

long FrameExchange::take_unasked(Child& child) {
  const ssize_t size = ::read(child.output(), buffer_.data(), buffer_.size());
  if (size > 0) wipe(std::span(buffer_).first(static_cast<std::size_t>(size)));
  return size;
}

// False: nothing more can be sent.
bool FrameExchange::send(const Child& child, std::string_view request) {
  const std::string_view header(request_header_.data(), kRequestHeader);
  const std::string_view rest = header.substr(std::min(sent_, kRequestHeader));
  const std::string_view text =
      request.substr(std::min(sent_ - std::min(sent_, kRequestHeader), request.size()));
  const iovec parts[2] = {{const_cast<char*>(rest.data()), rest.size()},
                          {const_cast<char*>(text.data()), text.size()}};
  ssize_t size = 0;
  do {
    size = ::writev(child.input(), parts, 2);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return is_for_now(errno);
  sent_ += static_cast<std::size_t>(size);
  return true;
}

std::optional<FrameDecoder::Found> FrameExchange::receive(const Child& child, std::string& reply,
                                                          int most_reads) {
  for (int i = 0; i < most_reads; ++i) {
    const ssize_t size = ::read(child.output(), buffer_.data(), buffer_.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return Found::kNothing;
    if (size == 0) return std::nullopt;
    const std::span<char> bytes = std::span(buffer_).first(static_cast<std::size_t>(size));
    std::string_view rest(bytes.data(), bytes.size());
    const Found found = frames_.take(rest, reply, longest_);
    surplus_ = frames_.passed_over() || !rest.empty();
    wipe(bytes);
    if (found != Found::kNothing) return found;
  }
  return Found::kNothing;
}

}  // namespace pool_server
