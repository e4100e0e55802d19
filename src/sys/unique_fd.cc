#include "sys/unique_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace pool_server {

void UniqueFd::reset() {
  // Linux frees the descriptor even when close() says EINTR: never close twice.
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void fill_standard_descriptors() {
  for (int fd = ::open("/dev/null", O_RDWR); fd >= 0; fd = ::open("/dev/null", O_RDWR)) {
    if (fd <= STDERR_FILENO) continue;  // it took the place of a missing one
    ::close(fd);
    return;
  }
}

UniqueFd checked_fd(int fd, const char* what) {
  if (fd < 0) throw_errno(what);
  return UniqueFd(fd);
}

}  // namespace pool_server
