#include "sys/service_manager.h"

#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <cerrno>
#include <cstdlib>

#include "sys/clock.h"

namespace pool_server::service_manager {

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

bool is_listening() {
  return std::getenv("NOTIFY_SOCKET") != nullptr;
}

void notify(const std::string& state) {
  (void)::sd_notify(/*unset_environment=*/0, state.c_str());
}

void notify_reloading() {
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_now()));
}

std::optional<std::int64_t> watchdog_interval() {
  std::uint64_t interval = 0;
  if (::sd_watchdog_enabled(/*unset_environment=*/0, &interval) <= 0) return std::nullopt;
  return static_cast<std::int64_t>(interval);
}

bool store_fd(int fd, const std::string& name, std::int64_t timeout) {
  // FDPOLL=0: the manager would otherwise drop it as soon as its other end is closed.
  const std::string state = "FDSTORE=1\nFDPOLL=0\nFDNAME=" + name;
  return ::sd_pid_notify_with_fds(0, /*unset_environment=*/0, state.c_str(), &fd, 1) > 0 &&
         ::sd_notify_barrier(/*unset_environment=*/0, static_cast<std::uint64_t>(timeout)) > 0;
}

void remove_stored_fds(const std::string& name) {
  notify("FDSTOREREMOVE=1\nFDNAME=" + name);
}

}  // namespace pool_server::service_manager
