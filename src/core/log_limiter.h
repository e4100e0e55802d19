#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/ids.h"
#include "core/options.h"

namespace pool_server {

// Keeps a log readable, and its disk free, whatever happens how often: of each kind of line one a
// second is logged, and after kPrompt of them one a minute, until there has been none for a minute.
// The others are counted, and no count is lost: it goes with the next line of its kind, or is told
// by itself when there is none. Pure.
class LogLimiter {
 public:
  static constexpr TimeUs kPeriod = 1'000'000;
  static constexpr TimeUs kLongPeriod = 60 * kPeriod;
  static constexpr unsigned kPrompt = 10;

  // Kinds are numbered from 0.
  explicit LogLimiter(std::size_t kinds) : kinds_(kinds) {}

  // A line is about to be logged. Nullopt: it is to be left out; else how many of its kind have
  // been since the last that was logged.
  std::optional<std::uint64_t> admit(std::size_t kind, LogLevel level, TimeUs now);

  struct LeftOut {
    std::size_t kind = 0;
    LogLevel level{};  // of the most severe
    std::uint64_t count = 0;
  };
  // Not before this time has take_due() anything; kNever: there is nothing left out. One period
  // later than a line of the kind would be logged, which says more than a count.
  TimeUs due() const { return due_; }
  // What is to be told at `now`, as if it were a line of its kind.
  std::vector<LeftOut> take_due(TimeUs now);
  // The same of all, at the end.
  std::vector<LeftOut> take_all();

 private:
  struct Kind {
    TimeUs free_at = 0;    // from when on the next line may be logged
    TimeUs wanted_at = 0;  // when there was one last, logged or not
    unsigned logged = 0;   // since there was none for a long period
    LogLevel level{};      // of what was left out
    std::uint64_t left_out = 0;
  };

  static void forget_if_quiet(Kind& of, TimeUs now);
  static void take_turn(Kind& of, TimeUs now);

  std::vector<Kind> kinds_;
  TimeUs due_ = kNever;  // may be too early, never too late
};

}  // namespace pool_server
