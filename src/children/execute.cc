#include "children/execute.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "children/forked.h"

namespace pool_server {

namespace {

// Where a program of that name may be, in the order in which to try.
std::vector<std::string> places(const std::string& program) {
  if (program.find('/') != std::string::npos) return {program};
  const char* const path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
  std::vector<std::string> found;
  for (;;) {
    const std::size_t colon = rest.find(':');
    const std::string_view directory = rest.substr(0, colon);
    // An empty directory would be the one the server happens to be in.
    if (!directory.empty()) found.push_back(std::string(directory).append("/").append(program));
    if (colon == std::string_view::npos) return found;
    rest.remove_prefix(colon + 1);
  }
}

bool says_not_here(int error) {
  return error == ENOENT || error == ENOTDIR;
}

void reset_signals() {
  for (int number = 1; number < NSIG; ++number) (void)::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

int execute(const Execution& execution, pid_t parent) {
  ::setsid();
  reset_signals();
  restore_descriptor_limit();
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return errno;
  if (::getppid() != parent) return ESRCH;  // it had gone before
  if (::dup2(execution.input, STDIN_FILENO) < 0 || ::dup2(execution.output, STDOUT_FILENO) < 0 ||
      ::dup2(execution.error, STDERR_FILENO) < 0) {
    return errno;
  }
  (void)::setenv("POOL_SERVER_PROTOCOL", execution.protocol, 1);
  std::vector<char*> arguments;
  for (const std::string& word : execution.words) {
    arguments.push_back(const_cast<char*>(word.c_str()));
  }
  arguments.push_back(nullptr);
  if (execution.address_space > 0) {  // last: there may be no memory after it
    const rlimit limit{execution.address_space, execution.address_space};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) return errno;
  }
  int fault = ENOENT;
  for (const std::string& place : places(execution.words.front())) {
    ::execv(place.c_str(), arguments.data());
    if (!says_not_here(errno)) fault = errno;
    // As a shell does: what may not be executed may be there again, further on.
    if (!says_not_here(errno) && errno != EACCES) break;
  }
  return fault;
}

std::string execution_fault(const std::string& program) {
  int fault = ENOENT;
  for (const std::string& place : places(program)) {
    struct stat status {};
    if (::stat(place.c_str(), &status) == 0 && ::access(place.c_str(), X_OK) == 0) {
      if (S_ISREG(status.st_mode)) return {};
      errno = EACCES;
    }
    if (!says_not_here(errno)) fault = errno;
  }
  return std::strerror(fault);
}

}  // namespace pool_server
