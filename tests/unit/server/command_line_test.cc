#include "server/command_line.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "support/config_file.h"
#include "support/failing_new.h"

namespace pool_server {
namespace {

using Arguments = std::vector<std::string>;

Options parsed(const Arguments& arguments) {
  const CommandLine result = parse_command_line(arguments);
  CHECK_FALSE(result.exit_status.has_value());
  CHECK(result.faults == std::vector<std::string>{});
  return result.options;
}

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

// All of them get `text`, but for one that gets `value`: its own member and no other has it.
template <class Member>
void check_each(const std::vector<std::pair<std::string, Member Options::*>>& settings,
                const std::string& text, const std::string& value, Member expected) {
  for (const auto& setting : settings) {
    CAPTURE(setting.first);
    Arguments arguments;
    for (const auto& other : settings) {
      arguments.push_back("--" + other.first + "=" + (other == setting ? value : text));
    }
    const Options options = parsed(arguments);
    for (const auto& other : settings) {
      CHECK((options.*other.second == expected) == (other == setting));
    }
  }
}

TEST_CASE("command line: each setting is its own") {
  check_each<TimeUs>({{"task-timeout", &Options::task_timeout},
                      {"worker-idle-timeout", &Options::worker_idle_timeout},
                      {"queue-timeout", &Options::queue_timeout},
                      {"queue-target", &Options::queue_target},
                      {"kill-grace", &Options::kill_grace},
                      {"line-timeout", &Options::line_timeout},
                      {"send-timeout", &Options::send_timeout},
                      {"idle-timeout", &Options::idle_timeout},
                      {"drain-timeout", &Options::drain_timeout},
                      {"handover-wait", &Options::handover_wait}},
                     "3s", "7s", 7'000'000);
  check_each<std::size_t>({{"queue-capacity", &Options::queue_capacity},
                           {"max-inflight-per-connection", &Options::max_inflight_per_connection},
                           {"worker-max-tasks", &Options::worker_max_tasks},
                           {"max-connections", &Options::max_connections},
                           {"max-connections-per-peer", &Options::max_connections_per_peer}},
                          "30", "70", 70);
  check_each<std::size_t>({{"worker-max-memory", &Options::worker_max_memory},
                           {"worker-memory-limit", &Options::worker_memory_limit},
                           {"max-memory", &Options::max_memory}},
                          "64MiB", "100MiB", std::size_t{100} << 20);
  check_each<std::size_t>({{"max-reply", &Options::max_reply},
                           {"max-line", &Options::max_line},
                           {"max-unsent", &Options::max_unsent}},
                          "2KiB", "3KiB", 3072);
  check_each<unsigned>({{"agent-full-rate", &Options::agent_full_rate},
                        {"max-stuck-workers", &Options::max_stuck_workers}},
                       "3", "4", 4);
  const std::vector<std::pair<std::string, bool Options::*>> switches = {
      {"isolate", &Options::isolate},
      {"proxy-protocol", &Options::proxy_protocol},
      {"preserve-connections", &Options::preserve_connections},
      {"log-connections", &Options::log_connections}};
  check_each<bool>(switches, "no", "yes", true);
  check_each<bool>(switches, "yes", "no", false);
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

TEST_CASE("command line: an empty name of a file is one that is missing") {
  // Fails when --check-config= starts a server, or --config= is passed over.
  for (const char* option : {"--config", "--check-config"}) {
    const CommandLine result = parse_command_line({option, ""});
    CHECK(result.exit_status == kExitFailure);
    CHECK(result.faults.size() == 1);
  }
}

TEST_CASE("command line: the faults of a file are told line by line") {
  // Fails when one of them has no place, or the start and the check tell different ones.
  const ConfigFile file("workers=2\nno-such-setting=1\n\nqueue-capacity=none\njust words\n");
  CommandLine result = parse_command_line({"--check-config", file.path()});
  CHECK(result.exit_status == kExitFailure);
  REQUIRE(result.faults.size() == 3);
  CHECK(result.faults[0].starts_with(file.path() + ":2: "));
  CHECK(result.faults[1].starts_with(file.path() + ":4: "));
  CHECK(result.faults[2].starts_with(file.path() + ":5: "));
  const auto faults = result.faults;
  result = parse_command_line({"--config", file.path()});
  CHECK(result.exit_status == kExitUsage);
  CHECK(result.faults == faults);

  const ConfigFile good("workers=2\n");
  result = parse_command_line({"--check-config", good.path()});
  CHECK(result.exit_status == 0);
  CHECK(result.faults == Arguments{});
  CHECK(result.answer == good.path() + ": OK\n");
}

TEST_CASE("command line: a fault is one line of sensible length") {
  // Fails when what a user wrote reaches the log or a terminal as it is.
  for (const std::string& value :
       {std::string(100'000, 'x'), std::string("a\nb"), std::string("\x1b[2J")}) {
    const CommandLine result = parse_command_line({"--workers", value});
    REQUIRE(result.faults.size() == 1);
    CHECK(result.faults[0].size() < 600);
    for (const char c : result.faults[0]) CHECK(c >= ' ');
  }
}

// Every run of `arguments`, with memory that runs out at each allocation in turn.
template <class Check>
void with_each_allocation_failing(FailingNew::Then then, const Arguments& arguments, Check check) {
  for (std::size_t successes = 0;; ++successes) {
    CommandLine result;
    bool failed = false;
    {
      const FailingNew memory(successes, then);
      result = parse_command_line(arguments);
      failed = memory.failed();
    }
    CAPTURE(successes);
    check(result, failed);
    if (!failed) return;
  }
}

TEST_CASE(
    "command line: without memory it is a failure, told in one line, whatever was asked for") {
  // Fails when an allocation that fails ends the process, passes for a fault of the file, or leaves
  // a part of what was asked for.
  const ConfigFile file(
      "workers=2-6\nhandler-option=a-long-one=so-that-it-is-allocated\n"
      "listen=[\"127.0.0.1:1\", \"/a/path/that/is/allocated\"]\n");
  const ConfigFile faulty("workers=0\nthere is no such setting=1\n");
  for (const Arguments& arguments :
       {Arguments{"--config", file.path(), "--queue-capacity", "60", "--listen=/another/of/them"},
        Arguments{"--config", faulty.path()}, Arguments{"--workers", "none"},
        Arguments{"--no-such-option"}}) {
    const CommandLine wanted = parse_command_line(arguments);
    const auto check = [&wanted](const CommandLine& result, bool failed) {
      // Some that fail do little harm: a stream of CLI11's then only shortens its text.
      const bool done = result.exit_status == wanted.exit_status &&
                        result.faults.size() == wanted.faults.size() &&
                        result.options.listen == wanted.options.listen &&
                        result.options.queue_capacity == wanted.options.queue_capacity;
      const bool told = result.exit_status == kExitFailure &&
                        result.faults == std::vector<std::string>{"out of memory"};
      CHECK((done || (failed && told)));
    };
    with_each_allocation_failing(FailingNew::Then::kRecovers, arguments, check);
  }
}

TEST_CASE("command line: without any memory it is a failure all the same") {
  // Fails when telling that there is no memory needs some.
  const ConfigFile file("workers=2-6\nhandler-option=a-long-one=so-that-it-is-allocated\n");
  with_each_allocation_failing(FailingNew::Then::kStaysOut, {"--config", file.path()},
                               [](const CommandLine& result, bool failed) {
                                 if (failed) CHECK(result.exit_status == kExitFailure);
                                 CHECK(result.faults.size() <= 1);
                               });
}

}  // namespace
}  // namespace pool_server
