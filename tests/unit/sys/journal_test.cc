#include "sys/journal.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <string>

#include "support/descriptors.h"

namespace pool_server {
namespace {

TEST_CASE("journal: standard error is the journal's when device and inode match") {
  struct stat status {};
  REQUIRE(::fstat(STDERR_FILENO, &status) == 0);
  const std::string device = std::to_string(status.st_dev);
  const std::string inode = std::to_string(status.st_ino);
  const auto with = [](const std::optional<std::string>& value) {
    const ScopedVariable stream("JOURNAL_STREAM", value);
    return stderr_is_journal();
  };
  CHECK(with(device + ":" + inode));
  CHECK_FALSE(with(std::nullopt));
  CHECK_FALSE(with(""));
  CHECK_FALSE(with(device + ":" + inode + "0"));
  CHECK_FALSE(with("9" + device + ":" + inode));
}

TEST_CASE("journal: one that cannot be reached is no error") {
  CHECK_FALSE(Journal("/nowhere/at/all").send({{"MESSAGE", "lost"}}));
}

TEST_CASE("journal: an entry is its fields, with a length where a value has line ends") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("socket");
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);

  Journal journal(path);
  REQUIRE(journal.send({{"MESSAGE", "two\nlines"}, {"PRIORITY", "6"}}));
  std::string entry(100, '\0');
  const ssize_t size = ::recv(socket.get(), entry.data(), entry.size(), 0);
  using std::string_literals::operator""s;
  CHECK(entry.substr(0, static_cast<std::size_t>(size)) ==
        "MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=6\n"s);

  // Nobody reads: it says so and does not wait.
  int sent = 0;
  while (journal.send({{"MESSAGE", "more"}})) REQUIRE(++sent < 1'000'000);
}

}  // namespace
}  // namespace pool_server
