#include "sys/log_fd.h"

#include <doctest/doctest.h>

#include <array>
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

TEST_CASE("log fd: waits for no reader, and tells how many lines were lost") {
  for (const bool is_socket : {false, true}) {
    CAPTURE(is_socket);
    const auto [reader, writer] = is_socket ? socket_pair(/*flags=*/0) : pipe_pair();
    ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
    const ScopedRedirection redirect(STDERR_FILENO, writer.get());
    LogFd log;
    const std::string line(4000, 'x');
    constexpr unsigned long kLines = 1000;
    for (unsigned long i = 0; i < kLines; ++i) log.write(line + "\n");
    std::string all = read_all(reader.get());
    log.write("after\n");
    all += read_all(reader.get());
    CHECK(all.ends_with("\nafter\n"));
    // Notes are short, and may have found room before: they add up.
    unsigned long written = 0;
    unsigned long lost = 0;
    std::istringstream lines(all);
    for (std::string text; std::getline(lines, text);) {
      written += text == line ? 1 : 0;
      if (text.starts_with('(')) lost += std::stoul(text.substr(1));
    }
    CHECK(written > 0);
    CHECK(lost > 0);
    CHECK(written + lost == kLines);
    // The description is shared with others, who may rely on its being blocking.
    CHECK_FALSE(is_nonblocking(writer.get()));
  }
}

}  // namespace
}  // namespace pool_server
