#include "sys/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "sys/unique_fd.h"

namespace pool_server {

namespace {

[[noreturn]] void throw_unreadable(const std::string& path, const char* why) {
  throw std::runtime_error("cannot read " + path + ": " + why);
}

// "" or " (mode 0600)", when of the owner, the group and others only root has `permission`, which
// is given as that of the others.
std::string bar(const std::string& path, mode_t permission) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  const mode_t mode = status.st_mode;
  const bool for_owner = (mode & (permission << 6)) != 0 && status.st_uid != 0;
  const bool for_group = (mode & (permission << 3)) != 0 && status.st_gid != 0;
  if (for_owner || for_group || (mode & permission) != 0) return {};
  std::array<char, sizeof " (mode 0000)"> text{};
  std::snprintf(text.data(), text.size(), " (mode %04o)", mode & 07777U);
  return path + text.data();
}

}  // namespace

std::string read_text_file(const std::string& path, std::size_t limit) {
  // Without O_NONBLOCK, open() would wait for whoever writes into a pipe.
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!file.valid()) throw_unreadable(path, std::strerror(errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_unreadable(path, std::strerror(errno));
  if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)) {
    throw_unreadable(path, "it is a pipe or a socket, which cannot be read again");
  }
  constexpr std::size_t kPiece = 16 * 1024;
  std::string text;
  for (;;) {
    const std::size_t size = text.size();
    text.resize(size + kPiece);
    const ssize_t count = ::read(file.get(), text.data() + size, kPiece);
    const int error = errno;
    text.resize(size + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count == 0) return text;
    if (count < 0 && error != EINTR) throw_unreadable(path, std::strerror(error));
    if (text.size() > limit) throw_unreadable(path, "it is too long");
  }
}

std::string barred_to_all_but_root(const std::string& path) {
  if (::geteuid() != 0) return {};
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    if (std::string found = bar(path.substr(0, slash), S_IXOTH); !found.empty()) return found;
  }
  return bar(path, S_IROTH);
}

}  // namespace pool_server
