#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace pool_server {

// Cuts a byte stream into request lines. Pure: it is fed bytes and keeps only the line that is not
// complete yet, so an idle connection holds no buffer.
//
// Invariants: at most max_line + 1 bytes are ever kept (one for a CR that may turn out to belong to
// the line end); a line that is too long is reported once, when that is known, and the rest of it
// is skipped.
class LineDecoder {
 public:
  struct Line {
    bool too_long = false;
    std::string_view text;  // without LF or CR LF; valid until the next call
  };

  // Removes from the front of `input` what makes up the next line. Nullopt: all of `input` was
  // taken and no line is complete. `max_line` is in bytes without the line end.
  std::optional<Line> next(std::string_view& input, std::size_t max_line) {
    if (partial_.empty() && !skipping_ && !partial_returned_ && !held_) {  // nearly always
      const std::size_t end = input.find('\n');
      if (end != std::string_view::npos) return cut(input, end, max_line);
    }
    return go_on(input, max_line);
  }

  // The line returned last was not taken: the next call, of either kind, returns it again.
  void hold(const Line& line);

  // The end of the stream: what was begun is a last line, if there is any.
  std::optional<Line> finish(std::size_t max_line);

  // The line returned last has been dealt with, unless it is held: nothing of it stays.
  void let_go() { drop_returned_line(); }

  // A line has been started and its LF has not come (a too long one that is being skipped counts).
  bool mid_line() const { return skipping_ || !partial().empty(); }

  // A whole line is being held.
  bool holding() const { return held_; }

  // What a hand-over to another process carries.
  std::string_view partial() const {
    return partial_returned_ ? std::string_view() : std::string_view(partial_);
  }
  bool skipping() const { return skipping_; }
  void restore(std::string_view partial, bool skipping);

 private:
  static std::string_view without_cr(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }
  // A whole line of `input`, which ends at `end`: nothing is copied.
  static Line cut(std::string_view& input, std::size_t end, std::size_t max_line) {
    const std::string_view line = without_cr(input.substr(0, end));
    input.remove_prefix(end + 1);
    if (line.size() > max_line) return {.too_long = true, .text = {}};
    return {.too_long = false, .text = line};
  }
  // Too long for certain, even if a trailing CR should turn out to be part of the line end.
  static bool certainly_too_long(std::string_view unfinished, std::size_t max_line) {
    return without_cr(unfinished).size() > max_line;
  }
  std::optional<Line> go_on(std::string_view& input, std::size_t max_line);
  std::optional<Line> held_line();
  void drop_returned_line();
  void drop_partial();

  std::string partial_;
  bool skipping_ = false;
  bool partial_returned_ = false;  // partial_ was handed out as a line; drop it at the next call
  bool held_ = false;              // partial_ is a whole line that is to be returned again
};

}  // namespace pool_server
