#include "children/output_lines.h"

#include <algorithm>
#include <utility>

namespace pool_server {

void OutputLines::take(std::string_view bytes, TimeUs now, const Tell& tell) {
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    const std::size_t room = kLongest - line_.size();
    const std::size_t size = std::min(end, room);
    line_.append(bytes.substr(0, size));
    const bool ended = size == end && end < bytes.size();
    bytes.remove_prefix(ended ? size + 1 : size);
    const bool full = line_.size() == kLongest && !ended;
    // A line that ends where a piece of it did is told already.
    if (ended && cut_ && line_.empty()) {
      cut_ = false;
      continue;
    }
    if (ended || full) end_line(now, tell);
    cut_ = full || (cut_ && !ended);
  }
}

void OutputLines::finish(TimeUs now, const Tell& tell) {
  if (!line_.empty()) end_line(now, tell);
}

void OutputLines::end_line(TimeUs now, const Tell& tell) {
  kept_[next_kept_].assign(line_, 0, kLongestKept);
  next_kept_ = (next_kept_ + 1) % kKept;
  constexpr TimeUs kPerToken = 1'000'000 / kPerSecond;
  const TimeUs tokens = std::min<TimeUs>((now - refilled_at_) / kPerToken, kBurst);
  if (tokens > 0) {
    tokens_ = std::min(tokens_ + static_cast<unsigned>(tokens), kBurst);
    refilled_at_ = now;
  }
  if (tokens_ > 0) {
    --tokens_;
    tell(line_);
  } else {
    leave_out(1, now);
  }
  line_.clear();
}

void OutputLines::leave_out(std::uint64_t count, TimeUs now) {
  if (left_out_ == 0) due_ = now + kToldEvery;
  left_out_ += count;
}

std::uint64_t OutputLines::take_left_out(TimeUs now) {
  return now < left_out_due() ? 0 : take_all_left_out();
}

std::uint64_t OutputLines::take_all_left_out() {
  return std::exchange(left_out_, 0);
}

std::string OutputLines::last_words() const {
  std::string words;
  for (std::size_t i = 0; i < kKept; ++i) {
    const std::string& line = kept_[(next_kept_ + i) % kKept];
    if (line.empty()) continue;
    words.append(words.empty() ? "" : " / ").append(line);
  }
  return words;
}

}  // namespace pool_server
