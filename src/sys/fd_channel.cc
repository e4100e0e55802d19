#include "sys/fd_channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "sys/passed_fds.h"

namespace pool_server {

namespace {

// A message with room for as many descriptors as one may have. It is never without a byte, as that
// would look like an end of file.
struct Message {
  Message() {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  std::array<char, kMaxNote> note{};
  iovec part{note.data(), note.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFdsPerMessage * sizeof(int))> control{};
  msghdr header{};
};

// Reading failed for want of something, as opposed to there being nothing to read.
bool may_succeed_later(int error) {
  return error == ENOMEM || error == ENOBUFS || error == EMFILE || error == ENFILE || error == EIO;
}

bool send(int channel, const Message& message) {
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(channel, &message.header, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

}  // namespace

FdChannel FdChannel::make() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    throw_errno("socketpair");
  }
  // Each message counts with its kernel overhead; this is room for some thousand of them.
  const int size = 4 << 20;
  (void)::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

bool send_fds(int channel, std::span<const int> fds) {
  assert(!fds.empty() && fds.size() <= kMaxFdsPerMessage);
  Message message;
  message.part.iov_len = 1;
  attach_fds(message.header, fds);
  return send(channel, message);
}

bool send_note(int channel, std::string_view note) {
  assert(!note.empty() && note.size() <= kMaxNote);
  Message message;
  std::memcpy(message.note.data(), note.data(), note.size());
  message.part.iov_len = note.size();
  message.header.msg_control = nullptr;
  message.header.msg_controllen = 0;
  return send(channel, message);
}

std::optional<FdMessage> FdReader::next() {
  // Each time anew: the offset belongs to the socket, which others hold, too.
  const int offset = static_cast<int>(offset_);
  if (::setsockopt(channel_, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) != 0) {
    if (may_succeed_later(errno)) throw_errno("read stored descriptors");
    return std::nullopt;
  }
  FdMessage found;
  found.fds.reserve(kMaxFdsPerMessage);  // nothing may throw while descriptors have no owner
  Message message;
  ssize_t size = 0;
  do {
    size = ::recvmsg(channel_, &message.header,
                     MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && may_succeed_later(errno)) throw_errno("read stored descriptors");
  if (size <= 0) return std::nullopt;
  offset_ += static_cast<std::size_t>(size);  // of the whole message
  found.incomplete = (message.header.msg_flags & MSG_CTRUNC) != 0;
  take_fds(message.header, found.fds);
  found.note.assign(message.note.data(),
                    std::min(message.note.size(), static_cast<std::size_t>(size)));
  return found;
}

void empty_channel(int channel) {
  char byte = 0;
  ssize_t size = 0;
  do {
    size = ::recv(channel, &byte, sizeof byte, MSG_DONTWAIT);
  } while (size > 0 || (size < 0 && errno == EINTR));
}

}  // namespace pool_server
