#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "core/options.h"

namespace pool_server {

// The newest lines of the log, as many and as much of each as has its place in it. Pure.
class RecentLog {
 public:
  static constexpr std::size_t kMost = 50;
  static constexpr std::size_t kLongest = 300;  // bytes of a text

  struct Line {
    std::int64_t time = 0;  // µs of Unix time
    LogLevel level{};
    std::string_view event;  // lives for ever
    std::string text;
    std::uint64_t count = 0;  // of the event, from the line before on: itself and what was left out
  };

  void add(std::int64_t time, LogLevel level, std::string_view event, std::string_view text,
           std::uint64_t count) {
    Line line{time, level, event, std::string(text.substr(0, kLongest)), count};
    if (text.size() > kLongest) line.text += "...";
    lines_.push_back(std::move(line));
    if (lines_.size() > kMost) lines_.pop_front();
  }

  // So many more of `event` have been left out since its last line, which counts them. False: that
  // is not here.
  bool add_to_last(std::string_view event, std::uint64_t count) {
    for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) {
      if (line->event != event) continue;
      line->count += count;
      return true;
    }
    return false;
  }

  const std::deque<Line>& lines() const { return lines_; }  // oldest first

 private:
  std::deque<Line> lines_;
};

}  // namespace pool_server
