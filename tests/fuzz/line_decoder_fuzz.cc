// Any bytes in any pieces, with lines that are held back, and another decoder going on in the
// middle: the lines are those that a naive splitter finds.

#include "core/line_decoder.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "must.h"

namespace {

using namespace pool_server;

const std::string kTooLong = "\n";  // no line has this text

std::vector<std::string> naive_lines(std::string_view stream, std::size_t max_line) {
  std::vector<std::string> lines;
  while (!stream.empty()) {
    const std::size_t end = stream.find('\n');
    const bool ended = end != std::string_view::npos;
    std::string line(stream.substr(0, end));
    if (ended && line.ends_with('\r')) line.pop_back();
    lines.push_back(line.size() > max_line ? kTooLong : line);
    stream.remove_prefix(ended ? end + 1 : stream.size());
  }
  return lines;
}

// Tells what to do from the first bytes of the input, over and over.
class Choices {
 public:
  explicit Choices(std::string_view bytes) : bytes_(bytes) {}
  unsigned next() {
    return bytes_.empty() ? 7 : static_cast<unsigned char>(bytes_[at_++ % bytes_.size()]);
  }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

class Run {
 public:
  Run(Choices choices, std::size_t max_line) : choices_(choices), max_line_(max_line) {}

  std::vector<std::string> lines_of(std::string_view stream) {
    while (!stream.empty()) {
      const std::size_t size = std::min<std::size_t>(choices_.next() % 16 + 1, stream.size());
      feed(stream.substr(0, size));
      stream.remove_prefix(size);
      if (choices_.next() % 8 == 0) hand_over();
    }
    take([this] { return decoder_.finish(max_line_); });
    must(!decoder_.mid_line() && !decoder_.holding());
    return lines_;
  }

 private:
  void feed(std::string_view piece) {
    take([&] { return decoder_.next(piece, max_line_); });
    must(piece.empty());
    must(decoder_.partial().size() <= max_line_ + 1);
  }

  template <class Next>
  void take(Next next) {
    bool held = false;  // each line once at the most, so that this ends
    while (const auto line = next()) {
      held = !held && !line->too_long && choices_.next() % 4 == 0;
      if (held) {
        decoder_.hold(*line);
        must(decoder_.holding());
      } else {
        lines_.push_back(line->too_long ? kTooLong : std::string(line->text));
      }
    }
  }

  void hand_over() {
    LineDecoder successor;
    successor.restore(decoder_.partial(), decoder_.skipping());
    decoder_ = successor;
  }

  Choices choices_;
  const std::size_t max_line_;
  LineDecoder decoder_;
  std::vector<std::string> lines_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t head = std::min<std::size_t>(size, 6);
  const std::string_view stream = bytes.substr(head);
  Choices choices(bytes.substr(0, head));
  const std::size_t max_line = choices.next() % 12 + 1;
  must(Run(choices, max_line).lines_of(stream) == naive_lines(stream, max_line));
  return 0;
}
