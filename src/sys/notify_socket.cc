#include "sys/notify_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "sys/clock.h"
#include "sys/passed_fds.h"

namespace pool_server {

namespace {

// While a manager that does not read is waited for.
constexpr timespec kTryAgain{.tv_sec = 0, .tv_nsec = 2'000'000};

// Messages of one kind replace each other.
std::string_view kind_of(std::string_view state) {
  return state.starts_with("FDSTOREREMOVE=") ? state : state.substr(0, state.find('='));
}

}  // namespace

NotifySocket::NotifySocket(std::string address)
    : address_(std::move(address)),
      manager_(parse(address_)),
      socket_(checked_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                         "socket for the service manager")) {}

std::optional<NotifySocket::Address> NotifySocket::parse(std::string_view address) {
  Address parsed;
  parsed.bytes.sun_family = AF_UNIX;
  // A path needs its end, a name has a length instead.
  const bool is_name = address.starts_with('@');
  const std::size_t most = sizeof parsed.bytes.sun_path - (is_name ? 0 : 1);
  if (address.size() < 2 || address.size() > most) return std::nullopt;
  if (!is_name && address.front() != '/') return std::nullopt;
  address.copy(parsed.bytes.sun_path, address.size());
  if (is_name) parsed.bytes.sun_path[0] = '\0';
  parsed.size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size() + (is_name ? 0 : 1));
  return parsed;
}

void NotifySocket::send(std::string state) {
  std::erase_if(waiting_,
                [&](const std::string& older) { return kind_of(older) == kind_of(state); });
  waiting_.push_back(std::move(state));
  refused_ = false;
  flush();
}

bool NotifySocket::flush() {
  if (refused_) return true;
  auto next = waiting_.begin();
  Outcome outcome = Outcome::kSent;
  for (; next != waiting_.end(); ++next) {
    outcome = try_to_send(*next, -1);
    if (outcome == Outcome::kLater || outcome == Outcome::kRefused) break;
  }
  waiting_.erase(waiting_.begin(), next);
  refused_ = outcome == Outcome::kRefused;
  return waiting_.empty() || refused_;
}

bool NotifySocket::send_with_fd(std::string_view state, int fd, std::int64_t deadline) {
  refused_ = false;
  for (;;) {
    if (flush()) {
      const Outcome outcome = try_to_send(state, fd);
      if (outcome != Outcome::kLater) return outcome == Outcome::kSent;
    }
    if (monotonic_now() >= deadline) return false;
    // To poll for room would need a socket that is connected, and one that is needs another each
    // time the manager is replaced.
    (void)::ppoll(nullptr, 0, &kTryAgain, nullptr);
  }
}

// Addressed each time, as the manager may have been started anew.
NotifySocket::Outcome NotifySocket::try_to_send(std::string_view state, int fd) {
  if (!manager_) return Outcome::kNever;
  iovec part{const_cast<char*>(state.data()), state.size()};
  msghdr message{};
  message.msg_name = &manager_->bytes;
  message.msg_namelen = manager_->size;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fd)> control{};
  if (fd >= 0) {
    message.msg_control = control.data();
    attach_fds(message, {&fd, 1});
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return Outcome::kSent;
  switch (errno) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
    case ETOOMANYREFS:  // descriptors in flight
      return Outcome::kLater;
    case EMSGSIZE:
      return Outcome::kNever;
    default:  // ECONNREFUSED, ENOENT and the like: nobody reads there, now
      return Outcome::kRefused;
  }
}

}  // namespace pool_server
