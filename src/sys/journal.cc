#include "sys/journal.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace pool_server {

namespace {

// NAME=value, or with its length where the value has line ends of its own.
void append_field(const Journal::Field& field, std::string& entry) {
  entry.append(field.name);
  if (field.value.find('\n') == std::string::npos) {
    entry.append("=").append(field.value).append("\n");
    return;
  }
  entry.append("\n");
  for (unsigned shift = 0; shift < 64; shift += 8) {  // little-endian
    entry.push_back(static_cast<char>(static_cast<std::uint64_t>(field.value.size()) >> shift));
  }
  entry.append(field.value).append("\n");
}

}  // namespace

bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &status) != 0) return false;
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) == stream;
}

Journal::Journal(std::string_view path)
    : path_(path),
      socket_(checked_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                         "socket for the journal")) {}

bool Journal::send(const std::vector<Field>& fields) {
  std::string entry;
  for (const Field& field : fields) append_field(field, entry);
  // Addressed each time, not connected once: the journal may be restarted.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  const auto* to = reinterpret_cast<const sockaddr*>(&address);
  return ::sendto(socket_.get(), entry.data(), entry.size(), MSG_NOSIGNAL, to, sizeof address) >= 0;
}

}  // namespace pool_server
