#include "sys/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace pool_server {

namespace {

// What most clients' ends of unix sockets are.
constexpr const char* kUnnamed = "unix";

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

std::optional<Address> numeric_address(const std::string& host, unsigned port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<in_port_t>(port));
    address.length = sizeof *v4;
    return address;
  }
  if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<in_port_t>(port));
    address.length = sizeof *v6;
    return address;
  }
  return std::nullopt;
}

unsigned parse_port(const std::string& text) {
  unsigned port = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || rest != text.data() + text.size() || port > 65535) {
    throw std::invalid_argument("'" + text + "' is not a port (0 to 65535)");
  }
  return port;
}

std::string name_of(const Address& address) {
  char host[INET6_ADDRSTRLEN] = "";
  if (address.family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    return std::string(host) + ":" + std::to_string(ntohs(v4->sin_port));
  }
  if (address.family() == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    return std::string("[") + host + "]:" + std::to_string(ntohs(v6->sin6_port));
  }
  if (address.family() == AF_UNIX) {
    const auto* local = reinterpret_cast<const sockaddr_un*>(&address.storage);
    const std::size_t length = address.length - offsetof(sockaddr_un, sun_path);
    if (address.length <= offsetof(sockaddr_un, sun_path) || local->sun_path[0] == '\0') {
      return kUnnamed;
    }
    return "unix:" + std::string(local->sun_path, ::strnlen(local->sun_path, length));
  }
  return {};
}

std::system_error listen_error(int error, const std::string& name) {
  return {error, std::generic_category(), "cannot listen on " + name};
}

// `file` is given what a unix socket leaves in the file system.
UniqueFd bind_and_listen(Address& address, const std::string& name, SocketFile* file = nullptr) {
  UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) throw listen_error(errno, name);
  const int on = 1;
  if (address.family() != AF_UNIX) {
    // A restarted server must not wait for the old connections' TIME_WAIT.
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  }
  if (address.family() == AF_INET6) {
    (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (::bind(fd.get(), address.raw(), address.length) != 0) throw listen_error(errno, name);
  if (file != nullptr) *file = SocketFile(name);
  if (::listen(fd.get(), SOMAXCONN) != 0) throw listen_error(errno, name);
  return fd;
}

unsigned bound_port(int fd) {
  Address address;
  address.length = sizeof address.storage;
  if (::getsockname(fd, address.raw(), &address.length) != 0) return 0;
  return address.family() == AF_INET6
             ? ntohs(reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port)
             : ntohs(reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port);
}

// True when a socket file is there and nobody listens on it: left by a server that was killed.
bool is_stale(Address& address) {
  struct stat status {};
  const auto* local = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (::lstat(local->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return probe.valid() && ::connect(probe.get(), address.raw(), address.length) != 0 &&
         errno == ECONNREFUSED;
}

ListeningSocket listen_on_path(const std::string& path) {
  Address address;
  auto* local = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (path.size() >= sizeof local->sun_path) throw listen_error(ENAMETOOLONG, path);
  local->sun_family = AF_UNIX;
  std::memcpy(local->sun_path, path.c_str(), path.size() + 1);
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  if (is_stale(address)) ::unlink(path.c_str());
  ListeningSocket socket;
  socket.name = path;
  socket.fd = bind_and_listen(address, path, &socket.file);
  return socket;
}

bool family_is_missing(int error) {
  return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

std::vector<ListeningSocket> listen_on_hosts(const ListenAddress& wanted) {
  std::vector<ListeningSocket> sockets;
  unsigned port = wanted.port;
  std::optional<std::system_error> missing;
  for (const std::string& host : wanted.hosts) {
    auto address = numeric_address(host, port);
    if (!address) throw listen_error(EINVAL, wanted.text);
    try {
      UniqueFd fd = bind_and_listen(*address, name_of(*address));
      if (port == 0) port = bound_port(fd.get());
      std::string name = local_name(fd.get());
      sockets.push_back({std::move(fd), std::move(name), {}});
    } catch (const std::system_error& error) {
      if (!wanted.any_host_suffices || !family_is_missing(error.code().value())) throw;
      missing = error;
    }
  }
  if (sockets.empty()) throw *missing;
  return sockets;
}

// Who connected to a unix socket, as the kernel noted it then.
std::optional<ucred> credentials_of_peer(int fd) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return std::nullopt;
  return credentials;
}

std::string name_by(int (*get_name)(int, sockaddr*, socklen_t*), int fd) {
  Address address;
  address.length = sizeof address.storage;
  if (get_name(fd, address.raw(), &address.length) != 0) return {};
  return name_of(address);
}

}  // namespace

SocketFile::SocketFile(std::string path) : path_(std::move(path)) {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) != 0) path_.clear();  // somebody was quick to remove it
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

SocketFile& SocketFile::operator=(SocketFile&& other) noexcept {
  if (this == &other) return *this;
  remove();
  path_ = std::exchange(other.path_, {});
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

void SocketFile::remove() {
  struct stat status {};
  if (path_.empty() || ::lstat(path_.c_str(), &status) != 0) return;
  if (status.st_dev == device_ && status.st_ino == inode_) ::unlink(path_.c_str());
}

ListenAddress parse_listen_address(const std::string& text) {
  ListenAddress address;
  address.text = text;
  if (text.starts_with('/')) {
    address.path = text;
    return address;
  }
  std::string host;
  std::string port = text;
  if (const std::size_t colon = text.rfind(':'); colon != std::string::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    const bool bracketed = host.size() > 2 && host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (host.find(':') != std::string::npos && !bracketed) {
      throw std::invalid_argument("'" + text + "': write an IPv6 address as [ADDRESS]:PORT");
    }
  }
  address.port = parse_port(port);
  if (host.empty() || host == "localhost") {
    if (text.starts_with(':')) throw std::invalid_argument("'" + text + "' has no host");
    address.hosts = {"127.0.0.1", "::1"};
    address.any_host_suffices = true;
  } else if (numeric_address(host, address.port)) {
    address.hosts = {host};
  } else {
    throw std::invalid_argument("'" + host + "' is not an IPv4 or IPv6 address");
  }
  return address;
}

std::vector<ListeningSocket> listen_on(const ListenAddress& address) {
  std::vector<ListeningSocket> sockets;
  if (!address.path.empty()) {
    sockets.push_back(listen_on_path(address.path));
    return sockets;
  }
  constexpr int kTries = 16;  // for a port that is free on one host and taken on the other
  for (int tries = 1;; ++tries) {
    try {
      return listen_on_hosts(address);
    } catch (const std::system_error& error) {
      if (address.port != 0 || error.code().value() != EADDRINUSE || tries == kTries) throw;
    }
  }
}

PeerKey peer_key(int fd) {
  PeerKey key;
  Address address;
  address.length = sizeof address.storage;
  if (::getpeername(fd, address.raw(), &address.length) != 0) return key;
  if (address.family() == AF_INET) {
    key.kind = PeerKey::Kind::kIpv4;
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    std::memcpy(key.bytes.data(), &v4->sin_addr, sizeof v4->sin_addr);
  } else if (address.family() == AF_INET6) {
    key.kind = PeerKey::Kind::kIpv6;
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {  // an IPv4 client on a socket for both
      key.kind = PeerKey::Kind::kIpv4;
      std::memcpy(key.bytes.data(), &v6->sin6_addr.s6_addr[12], sizeof(in_addr));
    } else {
      std::memcpy(key.bytes.data(), &v6->sin6_addr, sizeof v6->sin6_addr);
    }
  } else if (address.family() == AF_UNIX) {
    key.kind = PeerKey::Kind::kUser;
    if (const auto credentials = credentials_of_peer(fd)) {
      std::memcpy(key.bytes.data(), &credentials->uid, sizeof credentials->uid);
    }
  }
  return key;
}

std::string local_name(int fd) {
  return name_by(::getsockname, fd);
}

std::string peer_name(int fd) {
  std::string name = name_by(::getpeername, fd);
  if (name != kUnnamed) return name;
  if (const auto credentials = credentials_of_peer(fd)) {
    name += " uid=" + std::to_string(credentials->uid) +
            " gid=" + std::to_string(credentials->gid) + " pid=" + std::to_string(credentials->pid);
  }
  return name;
}

}  // namespace pool_server
