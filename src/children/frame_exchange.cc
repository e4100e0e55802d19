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

// Most significant byte first, as everywhere between programs.
void put(std::uint32_t value, char* to) {
  for (int shift = 24; shift >= 0; shift -= 8) *to++ = static_cast<char>(value >> shift);
}

std::uint32_t number_at(const char* from) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}

}  // namespace

void FrameExchange::meet(Child&, const ChildSettings& settings) {
  longest_ = settings.max_reply;
  header_size_ = length_ = 0;
}

Exchange::Result FrameExchange::run(Child& child, const Ask& ask, std::string& reply) {
  surplus_ = ended_ = false;
  was_read_ = true;
  outcome_ = Outcome::kOk;
  sent_ = 0;
  ++number_;
  put(static_cast<std::uint32_t>(ask.request.size()), request_header_.data());
  put(number_, request_header_.data() + 4);
  bool sending = send(child, ask.request);
  for (;;) {
    const std::size_t size = kRequestHeader + ask.request.size();
    sending = sending && sent_ < size;
    const Event event = wait(child, ask, sending);
    if (event == Event::kStopped) return Result::kStopped;
    sending = sending && send(child, ask.request);
    const Received received = receive(child, reply);
    if (received == Received::kTooMuch) return Result::kTooLong;
    if (received == Received::kMalformed) return Result::kMalformed;
    ended_ = event == Event::kEnded;
    if (received == Received::kReply) {
      // What it left of the request would be its next one.
      surplus_ |= sent_ < size || has_input(child.input()) || header_size_ > 0;
      if (protocol::has_control_bytes(reply)) refuse(protocol::kBadReply, reply);
      return Result::kAnswered;
    }
    if (ended_ || received == Received::kEnd) {
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
  if (size < 0) return errno == EAGAIN;
  sent_ += static_cast<std::size_t>(size);
  return true;
}

// What is there, up to the reply.
FrameExchange::Received FrameExchange::receive(const Child& child, std::string& reply) {
  for (;;) {
    const ssize_t size = ::read(child.output(), buffer_.data(), buffer_.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return Received::kNothing;
    if (size == 0) return Received::kEnd;
    const std::span<char> bytes = std::span(buffer_).first(static_cast<std::size_t>(size));
    std::string_view rest(bytes.data(), bytes.size());
    const Received received = take(rest, reply);
    surplus_ |= received == Received::kReply && !rest.empty();
    wipe(bytes);
    if (received != Received::kNothing) return received;
  }
}

FrameExchange::Received FrameExchange::take(std::string_view& bytes, std::string& reply) {
  while (!bytes.empty()) {
    if (header_size_ < kReplyHeader && !take_header(bytes)) return Received::kNothing;
    const char outcome = reply_header_.back();
    if (outcome != 0 && outcome != 1) return Received::kMalformed;
    if (!stale_ && length_ > longest_ - std::min(longest_, reply.size())) return Received::kTooMuch;
    const std::string_view text = bytes.substr(0, length_);
    if (!stale_) reply.append(text);
    bytes.remove_prefix(text.size());
    length_ -= text.size();
    if (length_ > 0) return Received::kNothing;
    header_size_ = 0;
    if (!stale_) {
      outcome_ = outcome == 0 ? Outcome::kOk : Outcome::kError;
      return Received::kReply;
    }
    surplus_ = true;
  }
  return Received::kNothing;
}

// False: it is not whole yet.
bool FrameExchange::take_header(std::string_view& bytes) {
  const std::size_t size = std::min(bytes.size(), kReplyHeader - header_size_);
  std::copy_n(bytes.begin(), size, reply_header_.begin() + header_size_);
  bytes.remove_prefix(size);
  header_size_ += size;
  if (header_size_ < kReplyHeader) return false;
  length_ = number_at(reply_header_.data());
  stale_ = number_at(reply_header_.data() + 4) != number_;
  return true;
}

}  // namespace pool_server
