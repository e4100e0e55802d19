#include "sys/descriptor_reserve.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace pool_server {

void DescriptorReserve::hold(std::size_t count) {
  held_.reserve(count);
  while (held_.size() < count) {
    UniqueFd duplicate(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!duplicate.valid()) return;
    held_.push_back(std::move(duplicate));
  }
}

}  // namespace pool_server
