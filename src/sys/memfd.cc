#include "sys/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace pool_server {

namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
constexpr std::uint64_t kBlock = 512;  // bytes, of st_blocks

struct stat status_of(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) throw_errno("fstat");
  return status;
}

}  // namespace

UniqueFd make_memfd(const char* name) {
  return checked_fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create");
}

void seal(int memfd) {
  if (::fcntl(memfd, F_ADD_SEALS, kSeals) != 0) throw_errno("seal a memfd");
}

std::optional<std::uint64_t> sealed_size(int fd, std::string_view& fault) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  // EINVAL: not such a file. EBADF: of O_PATH.
  if (seals < 0 && errno != EINVAL && errno != EBADF) throw_errno("look at the seals of a memfd");
  if (seals < 0 || (seals & kSeals) != kSeals) {
    fault = "it was not completed";
    return std::nullopt;
  }
  const struct stat status = status_of(fd);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > static_cast<std::uint64_t>(status.st_blocks) * kBlock) {
    fault = "its size cannot be true";
    return std::nullopt;
  }
  return size;
}

std::uint64_t file_size(int fd) {
  return static_cast<std::uint64_t>(status_of(fd).st_size);
}

bool write_at(int fd, std::uint64_t at, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
    at += static_cast<std::uint64_t>(count);
  }
  return true;
}

void read_at(int fd, std::uint64_t at, std::span<char> to) {
  while (!to.empty()) {
    const ssize_t count = ::pread(fd, to.data(), to.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = EIO;
    if (count <= 0) throw_errno("read a memfd");
    to = to.subspan(static_cast<std::size_t>(count));
    at += static_cast<std::uint64_t>(count);
  }
}

}  // namespace pool_server
