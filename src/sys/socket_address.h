#pragma once

#include <sys/types.h>

#include <array>
#include <compare>
#include <string>
#include <utility>
#include <vector>

#include "sys/unique_fd.h"

namespace pool_server {

// Parses PORT (localhost, 127.0.0.1 and ::1), HOST:PORT, [IPv6]:PORT or /PATH of a unix socket.
// HOST is a numeric address or localhost: no name is looked up, as that may block.
// Throws std::invalid_argument with a message for the user.
struct ListenAddress {
  std::string text;                // as the user gave it
  std::vector<std::string> hosts;  // numeric; empty for a unix socket
  unsigned port = 0;
  std::string path;  // of a unix socket
  // Of several hosts one suffices where the other's address family does not exist here.
  bool any_host_suffices = false;
};
ListenAddress parse_listen_address(const std::string& text);

// The file of a unix socket that this process has bound. Goes with its owner, unless another socket
// has taken its place by then.
class SocketFile {
 public:
  SocketFile() = default;
  // Of the socket that was just bound to `path`.
  explicit SocketFile(std::string path);
  SocketFile(SocketFile&& other) noexcept { *this = std::move(other); }
  SocketFile& operator=(SocketFile&& other) noexcept;
  ~SocketFile() { remove(); }

 private:
  void remove();

  std::string path_;  // empty: none
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

struct ListeningSocket {
  UniqueFd fd;       // non-blocking, close-on-exec, listening
  std::string name;  // as it is bound: "127.0.0.1:9090", "[::1]:9090", "/run/x.sock"
  SocketFile file;   // of a unix socket that this process made
};

// Binds and listens; with port 0 the kernel chooses one, the same for all hosts. A unix socket's
// file that no server listens on any more is replaced. Throws std::system_error, naming the
// address.
std::vector<ListeningSocket> listen_on(const ListenAddress& address);

// Who is at the other end, as far as limits are concerned: an IP address without the port (an IPv4
// one whatever the socket's family), or the user of a unix socket's peer.
struct PeerKey {
  enum class Kind : unsigned char { kUnknown, kIpv4, kIpv6, kUser };

  Kind kind = Kind::kUnknown;
  std::array<unsigned char, 16> bytes{};  // in network order; of an IPv4 address the first four

  auto operator<=>(const PeerKey&) const = default;
};
PeerKey peer_key(int fd);

// "127.0.0.1:4711", "[::1]:4711", "unix:/path", "unix" — for logs; empty when unknown.
std::string local_name(int fd);
std::string peer_name(int fd);

}  // namespace pool_server
