#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "sys/unique_fd.h"

namespace pool_server {

// A socket pair whose messages keep their bounds (SOCK_SEQPACKET) and may carry descriptors. Each
// message is sent and received whole, so several threads may send at the same time. The end of
// either side is an end of file to the other.
struct PacketPair {
  UniqueFd one;
  UniqueFd other;

  static PacketPair make();  // throws std::system_error
};

// At most so many descriptors are taken from one message.
inline constexpr std::size_t kMostPacketFds = 8;

// Sends `bytes`, of which there is at least one. False, and errno tells why: there is no room (none
// within `patience_ms`), or nobody is there. Raises no signal.
bool send_packet(int socket, std::string_view bytes, std::span<const int> fds = {},
                 int patience_ms = 0);

enum class PacketStatus : unsigned char { kOk, kAgain, kEnd };

struct Packet {
  PacketStatus status = PacketStatus::kAgain;
  std::string_view bytes;     // in the caller's buffer, which cuts what is longer
  std::vector<UniqueFd> fds;  // close-on-exec
};

// Never waits. Throws std::bad_alloc, before anything is taken, for want of the kernel's memory
// too.
Packet receive_packet(int socket, std::span<char> buffer);

// Waits until `fd` has something to read (or has ended), at most so long. False: it has not.
bool wait_readable(int fd, int timeout_ms);
inline constexpr int kForEver = -1;  // ms

}  // namespace pool_server
