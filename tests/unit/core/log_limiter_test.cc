#include "core/log_limiter.h"

#include <doctest/doctest.h>

#include <optional>

namespace pool_server {
namespace {

constexpr TimeUs kPeriod = LogLimiter::kPeriod;

TEST_CASE("log limiter: one line a second and kind, and the others with the next") {
  LogLimiter limiter(2);
  CHECK(limiter.admit(0, LogLevel::kInfo, 10) == 0);
  CHECK(limiter.admit(1, LogLevel::kInfo, 10) == 0);
  for (int i = 0; i < 5; ++i) CHECK_FALSE(limiter.admit(0, LogLevel::kInfo, 10 + i).has_value());
  CHECK_FALSE(limiter.admit(0, LogLevel::kInfo, 10 + kPeriod - 1).has_value());
  CHECK(limiter.admit(0, LogLevel::kInfo, 10 + kPeriod) == 6);
  CHECK(limiter.admit(0, LogLevel::kInfo, 10 + 2 * kPeriod) == 0);
  CHECK(limiter.take_due(kNever).empty());
}

TEST_CASE("log limiter: what goes on is a line a minute, until it has been quiet for one") {
  LogLimiter limiter(1);
  int lines = 0;
  std::uint64_t left_out = 0;
  const auto flood = [&](TimeUs from, TimeUs seconds) {
    lines = 0;
    for (TimeUs now = from; now < from + seconds * kPeriod; now += kPeriod / 4) {
      for (const auto& told : limiter.take_due(now)) {
        ++lines;
        left_out += told.count;
      }
      if (const auto before = limiter.admit(0, LogLevel::kInfo, now)) {
        ++lines;
        left_out += *before;
      }
    }
  };
  flood(kPeriod, 600);
  CHECK(lines >= 19);
  CHECK(lines <= 20);  // ten in ten seconds, and one for each minute
  flood(601 * kPeriod + LogLimiter::kLongPeriod + 2 * kPeriod, 8);
  CHECK(lines >= 8);
  for (const auto& told : limiter.take_all()) left_out += told.count;
  CHECK(left_out > 600);
}

TEST_CASE("log limiter: what never comes again is told as well, once") {
  LogLimiter limiter(3);
  CHECK(limiter.due() == kNever);
  limiter.admit(2, LogLevel::kWarning, 0);
  CHECK(limiter.due() == kNever);
  limiter.admit(2, LogLevel::kInfo, 1);
  limiter.admit(2, LogLevel::kError, 2);
  limiter.admit(2, LogLevel::kWarning, 3);
  const TimeUs due = limiter.due();
  CHECK(due == 2 * kPeriod);
  CHECK(limiter.take_due(due - 1).empty());
  const auto taken = limiter.take_due(due);
  REQUIRE(taken.size() == 1);
  CHECK(taken.front().kind == 2);
  CHECK(taken.front().level == LogLevel::kError);
  CHECK(taken.front().count == 3);
  CHECK(limiter.due() == kNever);
  CHECK(limiter.take_due(kNever - kPeriod).empty());
}

TEST_CASE("log limiter: a count is a line of its kind") {
  LogLimiter limiter(1);
  limiter.admit(0, LogLevel::kInfo, 0);
  limiter.admit(0, LogLevel::kInfo, 1);
  CHECK(limiter.take_due(2 * kPeriod).size() == 1);
  CHECK_FALSE(limiter.admit(0, LogLevel::kInfo, 2 * kPeriod + 1).has_value());
  CHECK(limiter.admit(0, LogLevel::kInfo, 3 * kPeriod) == 1);
}

TEST_CASE("log limiter: kinds are due each at its own time, and none is forgotten") {
  LogLimiter limiter(2);
  for (const TimeUs now : {0, 1}) limiter.admit(0, LogLevel::kInfo, now);
  for (const TimeUs now : {500, 501}) limiter.admit(1, LogLevel::kInfo, now);
  CHECK(limiter.take_due(2 * kPeriod).size() == 1);
  CHECK(limiter.due() == 2 * kPeriod + 500);
  CHECK(limiter.take_due(2 * kPeriod + 500).size() == 1);
  CHECK(limiter.due() == kNever);
}

TEST_CASE("log limiter: nothing is missing at the end, whatever came when") {
  LogLimiter limiter(1);
  std::uint64_t logged = 0;
  std::uint64_t counted = 0;
  constexpr std::uint64_t kAll = 100'000;
  for (std::uint64_t i = 0; i < kAll; ++i) {
    const auto now = static_cast<TimeUs>(i * i % 7919 + i * 50);
    for (const auto& left_out : limiter.take_due(now)) counted += left_out.count;
    if (const auto before = limiter.admit(0, LogLevel::kInfo, now)) {
      ++logged;
      counted += *before;
    }
  }
  for (const auto& left_out : limiter.take_all()) counted += left_out.count;
  CHECK(logged + counted == kAll);
  CHECK(logged <= kAll * 50 / kPeriod + 2);
  CHECK(limiter.take_all().empty());
}

}  // namespace
}  // namespace pool_server
