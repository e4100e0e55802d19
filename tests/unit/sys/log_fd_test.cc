#include "sys/log_fd.h"

#include <doctest/doctest.h>

#include <array>
#include <climits>
#include <sstream>
#include <string>

#include "support/descriptors.h"

namespace pool_server {
namespace {

std::string read_all(int fd) {
  std::string all;
  std::array<char, 4096> buffer{};
  ssize_t count = 0;
  while ((count = ::read(fd, buffer.data(), buffer.size())) > 0) {
    all.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return all;
}

TEST_CASE("log fd: writes to standard error, whatever that is") {
  for (const bool is_socket : {false, true}) {
    CAPTURE(is_socket);
    const auto [reader, writer] = is_socket ? socket_pair() : pipe_pair();
    ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
    const ScopedRedirection redirect(STDERR_FILENO, writer.get());
    LogFd log;
    log.write("one\n");
    log.write("two\n");
    CHECK(read_all(reader.get()) == "one\ntwo\n");
  }
}

// What becomes of `count` lines for a standard error that nobody reads. `reader` is its other end.
void fill(LogFd& log, int reader, bool cut) {
  const std::string line(4000, 'x');
  constexpr unsigned long kLines = 1000;
  unsigned long taken = 0;
  for (unsigned long i = 0; i < kLines; ++i) taken += log.write(line + "\n") ? 1 : 0;
  CHECK(taken > 0);
  CHECK(taken < kLines);
  std::string all = read_all(reader);
  CHECK(log.write("after\n"));
  // Of the longest, the end is missed less than the loop that waits.
  const std::string long_line = std::string(200'000, 'y') + "\n";
  if (cut) CHECK(log.write(long_line));
  all += read_all(reader);
  unsigned long seen = 0;
  std::istringstream lines(all);
  for (std::string text; std::getline(lines, text);) seen += text == line ? 1 : 0;
  CHECK(seen == taken);
  CHECK(all.find("\nafter\n") != std::string::npos);
  if (cut) CHECK(all.ends_with("after\n" + std::string(PIPE_BUF - 1, 'y') + "\n"));
}

TEST_CASE("log fd: waits for no reader, and says which lines were lost") {
  for (const bool is_socket : {false, true}) {
    CAPTURE(is_socket);
    const auto [reader, writer] = is_socket ? socket_pair(/*flags=*/0) : pipe_pair();
    ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
    const ScopedRedirection redirect(STDERR_FILENO, writer.get());
    LogFd log;
    fill(log, reader.get(), /*cut=*/false);
    // The description is shared with others, who may rely on its being blocking.
    CHECK_FALSE(is_nonblocking(writer.get()));
  }
}

TEST_CASE("log fd: waits for no reader of a pipe that cannot be opened anew") {
  const auto [reader, writer] = pipe_pair();
  ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  const ScopedRedirection redirect(STDERR_FILENO, writer.get());
  auto log = [] {
    const NoDescriptorsLeft none;
    return LogFd();
  }();
  fill(log, reader.get(), /*cut=*/true);
}

TEST_CASE("log fd: a file is appended to by all who write to it") {
  const UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  const ScopedRedirection redirect(STDERR_FILENO, file.get());
  append_to_stderr();
  LogFd log;
  log.write("log\n");
  REQUIRE(::write(STDERR_FILENO, "library\n", 8) == 8);
  log.write("log again\n");
  ::lseek(file.get(), 0, SEEK_SET);
  CHECK(read_all(file.get()) == "log\nlibrary\nlog again\n");
}

}  // namespace
}  // namespace pool_server
