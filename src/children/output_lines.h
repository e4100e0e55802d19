#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/ids.h"

namespace pool_server {

// Takes what a child writes to its standard error apart into lines, as many as a log can bear: a
// burst of kBurst, and kPerSecond after it; the others are counted. Longer lines than kLongest are
// told in pieces. Keeps the last of them, told or not, for when the child dies. Bounded, pure.
class OutputLines {
 public:
  static constexpr std::size_t kLongest = 1024;  // bytes
  static constexpr unsigned kBurst = 32;
  static constexpr unsigned kPerSecond = 4;

  using Tell = std::function<void(std::string_view line)>;

  void take(std::string_view bytes, TimeUs now, const Tell& tell);
  // The child has ended: what is left is a line, too.
  void finish(TimeUs now, const Tell& tell);

  // How many lines were left out since the last call, once that is due at `now`; 0: none, or later.
  std::uint64_t take_left_out(TimeUs now);
  std::uint64_t take_all_left_out();
  // So many that were to be told could not be.
  void leave_out(std::uint64_t count, TimeUs now);
  TimeUs left_out_due() const { return left_out_ == 0 ? kNever : due_; }

  // The last lines, in one, with " / " between.
  std::string last_words() const;

 private:
  static constexpr std::size_t kKept = 4;           // lines
  static constexpr std::size_t kLongestKept = 160;  // bytes
  static constexpr TimeUs kToldEvery = 1'000'000;

  void end_line(TimeUs now, const Tell& tell);

  std::string line_;
  bool cut_ = false;  // line_ goes on from a piece that was told
  std::array<std::string, kKept> kept_;
  std::size_t next_kept_ = 0;
  unsigned tokens_ = kBurst;
  TimeUs refilled_at_ = 0;
  std::uint64_t left_out_ = 0;
  TimeUs due_ = 0;
};

}  // namespace pool_server
