#include "sys/packet.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <new>

#include "sys/passed_fds.h"

namespace pool_server {

namespace {

constexpr std::size_t kControlSpace = CMSG_SPACE(kMostPacketFds * sizeof(int));

bool wait_for(int fd, short events, int timeout_ms) {
  pollfd poll_fd{.fd = fd, .events = events, .revents = 0};
  int count = 0;
  do {
    count = ::poll(&poll_fd, 1, timeout_ms);
  } while (count < 0 && errno == EINTR);
  return count > 0;
}

}  // namespace

PacketPair PacketPair::make() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw_errno("socketpair");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

bool send_packet(int socket, std::string_view bytes, std::span<const int> fds, int patience_ms) {
  assert(!bytes.empty() && fds.size() <= kMostPacketFds);
  iovec part{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
  alignas(cmsghdr) std::array<char, kControlSpace> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    attach_fds(message, fds);
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return true;
    if (errno == EINTR) continue;
    if (errno != EAGAIN || patience_ms == 0) return false;
    if (!wait_for(socket, POLLOUT, patience_ms)) {
      errno = EAGAIN;
      return false;
    }
  }
}

Packet receive_packet(int socket, std::span<char> buffer) {
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  alignas(cmsghdr) std::array<char, kControlSpace> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  Packet packet;
  packet.fds.reserve(kMostPacketFds);  // nothing may throw while descriptors have no owner
  ssize_t size = 0;
  do {
    size = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) return packet;
  if (size < 0 && (errno == ENOMEM || errno == ENOBUFS)) throw std::bad_alloc();
  packet.status = size <= 0 ? PacketStatus::kEnd : PacketStatus::kOk;
  if (size <= 0) return packet;
  packet.bytes = std::string_view(buffer.data(), static_cast<std::size_t>(size));
  take_fds(message, packet.fds);
  return packet;
}

bool wait_readable(int fd, int timeout_ms) {
  return wait_for(fd, POLLIN, timeout_ms);
}

}  // namespace pool_server
