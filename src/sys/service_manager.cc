#include "sys/service_manager.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <optional>

#include "sys/clock.h"
#include "sys/notify_socket.h"
#include "sys/socket.h"

namespace pool_server::service_manager {

namespace {

std::optional<NotifySocket> socket;  // made by the first who needs it

// The manager that the environment names; null: there is none.
NotifySocket* manager() {
  if (!is_listening()) return nullptr;
  const char* address = std::getenv("NOTIFY_SOCKET");
  if (!socket || socket->address() != address) socket.emplace(address);
  return &*socket;
}

// FDPOLL=0: the manager would otherwise drop it as soon as its other end is closed.
std::string to_store(const std::string& name) {
  return "FDSTORE=1\nFDPOLL=0\nFDNAME=" + name;
}

// Waits until the manager has dealt with all that was sent before: it then closes what it is sent.
bool pass_barrier(NotifySocket& to, UniqueFd ours, UniqueFd theirs, std::int64_t deadline) {
  if (!to.send_with_fd("BARRIER=1", theirs.get(), deadline)) return false;
  theirs.reset();
  return wait_for_input(ours.get(), deadline);
}

}  // namespace

std::vector<PassedFd> take_passed_fds() {
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(/*unset_environment=*/1, &names);
  if (count < 0) {
    errno = -count;
    throw_errno("cannot take the sockets that LISTEN_FDS announces");
  }
  std::vector<PassedFd> fds;
  for (int i = 0; i < count; ++i) {
    fds.push_back({UniqueFd(SD_LISTEN_FDS_START + i), names != nullptr ? names[i] : ""});
    if (names != nullptr) std::free(names[i]);
  }
  std::free(names);
  return fds;
}

bool is_stream_listener(int fd) {
  const int answer = ::sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, /*listening=*/1);
  if (answer < 0) {
    errno = -answer;
    throw_errno("cannot tell whether a passed descriptor is a listening socket");
  }
  return answer > 0;
}

bool announces_stops() {
  const char* announced = std::getenv("POOL_SERVER_STOPS_ARE_ANNOUNCED");
  return announced != nullptr && std::string_view(announced) == "yes";
}

bool is_listening() {
  const char* address = std::getenv("NOTIFY_SOCKET");
  return address != nullptr && NotifySocket::is_address(address);
}

void open() {
  (void)manager();
}

void notify(const std::string& state) {
  if (NotifySocket* to = manager()) to->send(state);
}

bool flush() {
  return !socket || socket->flush();
}

void notify_reloading() {
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_now()));
}

std::optional<std::int64_t> watchdog_interval() {
  std::uint64_t interval = 0;
  if (::sd_watchdog_enabled(/*unset_environment=*/0, &interval) <= 0) return std::nullopt;
  // A longer one than a clock can count is never over; it is no negative one.
  constexpr std::int64_t kLongest = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(std::min<std::uint64_t>(interval, kLongest));
}

bool store_fd(int fd, const std::string& name, std::int64_t timeout) {
  NotifySocket* to = manager();
  int ends[2];  // before anything is stored, as there may be no descriptor for them
  if (to == nullptr || ::pipe2(ends, O_CLOEXEC) != 0) return false;
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const std::int64_t deadline = monotonic_now() + timeout;
  if (!to->send_with_fd(to_store(name), fd, deadline)) return false;
  if (pass_barrier(*to, std::move(ours), std::move(theirs), deadline)) return true;
  remove_stored_fds(name);
  return false;
}

void send_fd_to_store(int fd, const std::string& name) {
  if (NotifySocket* to = manager()) (void)to->send_with_fd(to_store(name), fd, monotonic_now());
}

void remove_stored_fds(const std::string& name) {
  notify("FDSTOREREMOVE=1\nFDNAME=" + name);
}

}  // namespace pool_server::service_manager
