#include "server/log.h"

#include <doctest/doctest.h>

#include <optional>
#include <regex>
#include <string>

#include "core/log_limiter.h"
#include "support/log_pipe.h"
#include "sys/clock.h"

namespace pool_server {
namespace {

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// What the notes about lost lines add up to. They are short: one may find room where no line does.
std::size_t told_lost(const std::string& text) {
  static const std::regex note(" warning \\[main\\] (\\d+) lines were lost");
  std::size_t lost = 0;
  for (auto at = std::sregex_iterator(text.begin(), text.end(), note); at != std::sregex_iterator();
       ++at) {
    lost += std::stoul((*at)[1]);
  }
  return lost;
}

TEST_CASE("log: lines that nobody takes are counted and told, whatever the level") {
  for (const LogLevel level : {LogLevel::kDebug, LogLevel::kError}) {
    LogPipe pipe(level);
    constexpr std::size_t kLines = 1'000;
    const std::string text(1'000, 'x');
    const TimeUs begun = monotonic_now();
    for (std::size_t i = 0; i < kLines; ++i) log::write(level, "connected", {}, text);
    const std::string before = pipe.read();
    const TimeUs again = log::tell_missing(begun);  // however long it took: not yet
    CHECK(again != kNever);
    log::tell_missing(again);
    const std::string after = pipe.read();
    const std::size_t written = count_of(before, text);
    CHECK(written > 0);
    CHECK(written < kLines);
    CHECK(count_of(after, "lines were lost") == 1);
    CHECK(told_lost(before) + told_lost(after) == kLines - written);
    CHECK(log::tell_missing(again + 60'000'000) == kNever);
    CHECK(pipe.read().empty());
  }
}

TEST_CASE("log: a reader that never comes back is asked for less and less often") {
  LogPipe pipe(LogLevel::kDebug);
  for (std::size_t i = 0; i < 100; ++i) {
    log::write(LogLevel::kDebug, "read", {}, std::string(4'000, 'x'));
  }
  TimeUs now = log::tell_missing(monotonic_now());
  std::size_t tries = 0;
  for (const TimeUs end = now + 3'600'000'000; now < end; ++tries) now = log::tell_missing(now);
  CHECK(tries < 70);
  pipe.read();
  log::tell_all_missing();
  CHECK(count_of(pipe.read(), "lines were lost") == 1);
}

TEST_CASE("log: a kind of line that repeats is left out and counted; one that is news is not") {
  std::optional<LogPipe> at_once;
  TimeUs begun = 0;
  do {  // what took longer than a period is no test of it
    at_once.reset();
    at_once.emplace(LogLevel::kInfo);
    begun = monotonic_now();
    for (int i = 0; i < 100; ++i) {
      log::write(LogLevel::kInfo, "accept-resumed", {}, "again");
      log::write(LogLevel::kWarning, "worker-start-failed", {}, "no thread");
      log::write(LogLevel::kInfo, "listening", {}, "listening on " + std::to_string(i));
    }
  } while (monotonic_now() - begun >= LogLimiter::kPeriod);
  LogPipe& pipe = *at_once;
  const std::string text = pipe.read();
  CHECK(count_of(text, "again") == 1);
  CHECK(count_of(text, "no thread") == 1);
  CHECK(count_of(text, "listening on") == 100);
  const TimeUs due = log::tell_missing(begun);
  CHECK(pipe.read().empty());
  log::tell_missing(due + LogLimiter::kPeriod);
  const std::string counts = pipe.read();
  CHECK(count_of(counts, " info [main] left out 99 more of the event 'accept-resumed'\n") == 1);
  CHECK(count_of(counts, " warning [main] left out 99 more of the event 'worker-start-failed'\n") ==
        1);
}

TEST_CASE("log: what is below the level is not counted as left out") {
  LogPipe pipe(LogLevel::kError);
  for (int i = 0; i < 10; ++i) log::write(LogLevel::kWarning, "task-timeout", {}, "late");
  log::tell_all_missing();
  CHECK(pipe.read().empty());
}

TEST_CASE("log: a fault is one line, log or not") {
  LogPipe pipe(LogLevel::kError);
  const ScopedVariable none("JOURNAL_STREAM", std::nullopt);
  log::write_fault("start-failed", "no luck");
  CHECK(pipe.read() == "pool-server: no luck\n");
}

TEST_CASE("log: what is kept for a monitor is in the server's own words, with what was left out") {
  const LogPipe pipe(LogLevel::kInfo);
  log::keep_recent();
  const std::size_t before = log::recent().lines().size();
  log::write(LogLevel::kInfo, "started", {}, "no warning");
  log::write(LogLevel::kError, "reload-failed", {}, "it was wrong");
  log::write(LogLevel::kWarning, "handler-threw", {}, {"the handler failed: secret", 20});
  for (int i = 0; i < 5; ++i) log::write(LogLevel::kWarning, "memory-short", {}, "again");
  log::tell_all_missing();
  const auto& lines = log::recent().lines();
  REQUIRE(lines.size() >= before + 3);  // one more for each second that it took
  CHECK(lines[before].text == "it was wrong");
  CHECK(lines[before].level == LogLevel::kError);
  CHECK(lines[before].count == 1);
  CHECK(lines[before + 1].text == "the handler failed: ");
  std::size_t count = 0;
  for (std::size_t i = before + 2; i < lines.size(); ++i) {
    CHECK(lines[i].event == "memory-short");
    count += lines[i].count;
  }
  CHECK(count == 5);
}

}  // namespace
}  // namespace pool_server
