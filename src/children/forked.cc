#include "children/forked.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "sys/socket.h"

namespace pool_server {

namespace {

rlimit given_limit{RLIM_INFINITY, RLIM_INFINITY};

}  // namespace

void raise_descriptor_limit_here() {
  if (::getrlimit(RLIMIT_NOFILE, &given_limit) != 0) return;
  (void)raise_descriptor_limit();
}

void restore_descriptor_limit() {
  if (given_limit.rlim_cur != RLIM_INFINITY) (void)::setrlimit(RLIMIT_NOFILE, &given_limit);
}

void settle_in(const std::string& name, pid_t parent, int on_death) {
  ::setsid();  // what a terminal or a supervisor sends to the daemon's group is not for this one
  ::prctl(PR_SET_NAME, name.c_str());
  for (const int number : {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE}) {
    (void)::signal(number, SIG_IGN);
  }
  ::prctl(PR_SET_PDEATHSIG, on_death);
  if (::getppid() != parent) ::_exit(0);
}

bool keep_only(std::span<const int> kept, int error) {
  const int null = ::open("/dev/null", O_RDWR);
  if (null < 0) return false;
  // All out of the way first.
  const int end = kFirstGiven + static_cast<int>(kept.size());
  std::vector<int> moved;
  for (const int fd : kept) moved.push_back(::fcntl(fd, F_DUPFD_CLOEXEC, end));
  const int moved_error = ::fcntl(error < 0 ? null : error, F_DUPFD_CLOEXEC, end);
  const int moved_null = ::fcntl(null, F_DUPFD_CLOEXEC, end);
  for (std::size_t i = 0; i < moved.size(); ++i) {
    if (::dup3(moved[i], kFirstGiven + static_cast<int>(i), O_CLOEXEC) < 0) return false;
  }
  if (::dup2(moved_null, STDIN_FILENO) < 0 || ::dup2(moved_null, STDOUT_FILENO) < 0 ||
      ::dup2(moved_error, STDERR_FILENO) < 0) {
    return false;
  }
  ::closefrom(end);
  return true;
}

void report_start(int report, StartReport::Kind kind, int error, std::string_view text) {
  constexpr std::size_t kMostText = 512;
  std::string message;
  append_raw(message, StartReport{kind, error});
  message.append(text.substr(0, kMostText));
  (void)!::write(report, message.data(), message.size());
}

}  // namespace pool_server
