#include "server/command_line.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>
#include <vector>

#include "support/descriptors.h"

namespace pool_server {
namespace {

using Arguments = std::vector<std::string>;

Options parsed(const Arguments& arguments) {
  const CommandLine result = parse_command_line(arguments);
  CHECK_FALSE(result.exit_status.has_value());
  CHECK(result.faults == std::vector<std::string>{});
  return result.options;
}

// A configuration file for the while.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) { std::ofstream(path()) << text; }
  std::string path() const { return directory_.file("socket"); }

 private:
  TemporaryDirectory directory_;
};

TEST_CASE("command line: nothing said, the defaults hold") {
  const Options options = parsed({});
  CHECK(options.listen.empty());
  CHECK(options.port == 9090);
  CHECK(options.min_workers == 4);
  CHECK(options.max_workers == 4);
  CHECK(options.queue_capacity == 1024);
  CHECK(options.worker_idle_timeout == 10'000'000);
  CHECK(options.task_timeout == 0);
  CHECK(options.handler == "digest");
  CHECK(options.max_line == 65536);
  CHECK(options.max_connections == 4096);
  CHECK(options.idle_timeout == 0);
  CHECK(options.drain_timeout == 30'000'000);
  CHECK(options.log_level == LogLevel::kInfo);
}

TEST_CASE("command line: every setting") {
  const Options options = parsed({"--workers",
                                  "2-8",
                                  "--queue-capacity=7",
                                  "--task-timeout",
                                  "500ms",
                                  "--worker-idle-timeout",
                                  "2s",
                                  "--handler",
                                  "drill",
                                  "--max-line",
                                  "1KiB",
                                  "--max-connections",
                                  "9",
                                  "--idle-timeout",
                                  "1min",
                                  "--drain-timeout",
                                  "1.5s",
                                  "--log-level",
                                  "debug",
                                  "--listen",
                                  "/run/a.sock",
                                  "--listen",
                                  "127.0.0.1:80",
                                  "--listen=[::1]:81",
                                  "8080"});
  CHECK(options.min_workers == 2);
  CHECK(options.max_workers == 8);
  CHECK(options.queue_capacity == 7);
  CHECK(options.task_timeout == 500'000);
  CHECK(options.worker_idle_timeout == 2'000'000);
  CHECK(options.handler == "drill");
  CHECK(options.max_line == 1024);
  CHECK(options.max_connections == 9);
  CHECK(options.idle_timeout == 60'000'000);
  CHECK(options.drain_timeout == 1'500'000);
  CHECK(options.log_level == LogLevel::kDebug);
  CHECK(options.listen == Arguments{"/run/a.sock", "127.0.0.1:80", "[::1]:81"});
  CHECK(options.port == 8080);
}

TEST_CASE("command line: one number of workers is a fixed pool") {
  const Options options = parsed({"--workers", "3"});
  CHECK(options.min_workers == 3);
  CHECK(options.max_workers == 3);
}

TEST_CASE("command line: a mistake is one line that names it, and exit status 2") {
  const Arguments mistakes[] = {
      {"--no-such-option"},
      {"--workers"},
      {"--workers", "0"},
      {"--workers", "many"},
      {"--workers", "8-2"},
      {"--workers", "2-"},
      {"--workers", "-2"},
      {"--workers", "1-2-3"},
      {"--queue-capacity", "0"},
      {"--queue-capacity", "-1"},
      {"--queue-capacity", "1x"},
      {"--task-timeout", "fast"},
      {"--task-timeout", "-1s"},
      {"--handler", "nothing"},
      {"--max-line", "0"},
      {"--max-line", "1TiB"},
      {"--max-connections", "0"},
      {"--log-level", "loud"},
      {"--listen", "nowhere"},
      {"65536"},
      {"-1"},
      {"http"},
      {"1", "2"},
  };
  for (const Arguments& mistake : mistakes) {
    CAPTURE(mistake.front());
    CAPTURE(mistake.back());
    const CommandLine result = parse_command_line(mistake);
    CHECK(result.exit_status == kExitUsage);
    CHECK(result.answer.empty());
    REQUIRE(result.faults.size() == 1);
    CHECK(result.faults.front().find('\n') == std::string::npos);
    CHECK(result.faults.front().find("--help") != std::string::npos);
  }
}

TEST_CASE("command line: help and version are answers") {
  CommandLine result = parse_command_line({"--help"});
  CHECK(result.exit_status == 0);
  for (const char* option : {"--workers", "--queue-capacity", "--listen", "--config", "PORT"}) {
    CHECK(result.answer.find(option) != std::string::npos);
  }
  result = parse_command_line({"--version"});
  CHECK(result.exit_status == 0);
  CHECK(result.answer == "pool-server " POOL_SERVER_VERSION "\n");
}

TEST_CASE("command line: a configuration file, over which the command line has precedence") {
  const ConfigFile file(
      "# a comment\n"
      "workers = 2-6\n"
      "queue-capacity=50\n"
      "task-timeout=\"2s\"\n");
  const Options options = parsed({"--config", file.path(), "--queue-capacity", "60"});
  CHECK(options.min_workers == 2);
  CHECK(options.max_workers == 6);
  CHECK(options.queue_capacity == 60);
  CHECK(options.task_timeout == 2'000'000);
}

TEST_CASE("command line: a file that is missing is exit status 1, whatever else is wrong") {
  for (const Arguments& arguments :
       {Arguments{"--config", "/nowhere/at/all"}, Arguments{"--check-config", "/nowhere/at/all"},
        Arguments{"--config", "/nowhere/at/all", "--workers", "none"}}) {
    CommandLine result;
    REQUIRE_NOTHROW(result = parse_command_line(arguments));
    CHECK(result.exit_status.value_or(0) != 0);
    REQUIRE(result.faults.size() == 1);
  }
}

TEST_CASE("command line: the faults of a file are told line by line") {
  const ConfigFile file("workers=2\nno-such-setting=1\n\nqueue-capacity=none\njust words\n");
  const auto faults = check_config(file.path());
  REQUIRE(faults.size() == 3);
  CHECK(faults[0].starts_with(file.path() + ":2: "));
  CHECK(faults[1].starts_with(file.path() + ":4: "));
  CHECK(faults[2].starts_with(file.path() + ":5: "));

  CommandLine result = parse_command_line({"--check-config", file.path()});
  CHECK(result.exit_status == kExitFailure);
  CHECK(result.faults == faults);
  result = parse_command_line({"--config", file.path()});
  CHECK(result.exit_status == kExitUsage);
  CHECK(result.faults == faults);

  const ConfigFile good("workers=2\n");
  CHECK(check_config(good.path()).empty());
  CHECK(parse_command_line({"--check-config", good.path()}).exit_status == 0);
}

}  // namespace
}  // namespace pool_server
