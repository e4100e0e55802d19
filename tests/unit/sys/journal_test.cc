#include "sys/journal.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

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
  send_to_journal({"MESSAGE=from a unit test", "PRIORITY=7"});
}

}  // namespace
}  // namespace pool_server
