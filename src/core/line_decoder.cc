#include "core/line_decoder.h"

#include <utility>

#include "core/wipe.h"

namespace pool_server {

std::optional<LineDecoder::Line> LineDecoder::go_on(std::string_view& input, std::size_t max_line) {
  if (auto line = held_line()) return line;
  drop_returned_line();
  while (!input.empty()) {
    const std::size_t end = input.find('\n');
    const bool complete = end != std::string_view::npos;
    const std::string_view piece = input.substr(0, end);

    if (skipping_) {
      input.remove_prefix(complete ? end + 1 : input.size());
      skipping_ = !complete;
      continue;
    }
    if (partial_.empty() && complete) return cut(input, end, max_line);
    // Keep no more than it takes to know that the line is too long.
    const std::size_t room = max_line + 2 > partial_.size() ? max_line + 2 - partial_.size() : 0;
    partial_.append(piece.substr(0, room));
    const bool too_long = complete && piece.size() <= room
                              ? without_cr(partial_).size() > max_line
                              : piece.size() > room || certainly_too_long(partial_, max_line);
    input.remove_prefix(complete ? end + 1 : input.size());
    if (too_long) {
      drop_partial();
      skipping_ = !complete;
      return Line{.too_long = true, .text = {}};
    }
    if (!complete) return std::nullopt;
    partial_returned_ = true;
    return Line{.too_long = false, .text = without_cr(partial_)};
  }
  return std::nullopt;
}

std::optional<LineDecoder::Line> LineDecoder::finish(std::size_t max_line) {
  if (auto line = held_line()) return line;
  drop_returned_line();
  skipping_ = false;
  if (partial_.empty()) return std::nullopt;
  partial_returned_ = true;
  if (partial_.size() > max_line) return Line{.too_long = true, .text = {}};
  return Line{.too_long = false, .text = partial_};
}

void LineDecoder::hold(const Line& line) {
  if (!partial_returned_) {
    partial_ = line.text;
  } else {
    partial_.resize(line.text.size());  // it is partial_, less a CR
  }
  partial_returned_ = false;
  held_ = true;
}

std::optional<LineDecoder::Line> LineDecoder::held_line() {
  if (!held_) return std::nullopt;
  held_ = false;
  partial_returned_ = true;
  return Line{.too_long = false, .text = partial_};
}

void LineDecoder::restore(std::string_view partial, bool skipping) {
  drop_partial();
  partial_ = partial;
  skipping_ = skipping;
  partial_returned_ = false;
}

void LineDecoder::drop_returned_line() {
  if (!std::exchange(partial_returned_, false)) return;
  drop_partial();
}

// Swapped rather than cleared: a connection that goes idle now must not keep the capacity.
void LineDecoder::drop_partial() {
  wipe(partial_);
  partial_ = std::string();
}

}  // namespace pool_server
