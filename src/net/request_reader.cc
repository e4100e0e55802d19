#include "net/request_reader.h"

#include <utility>

namespace pool_server {

std::optional<LineDecoder::Line> RequestReader::next(std::size_t max_line) {
  drop_decoded();
  std::optional<LineDecoder::Line> line;
  if (!kept_.empty()) {
    std::string_view input = kept_.bytes();
    line = decoder_.next(input, max_line);
    decoded_ = kept_.size() - input.size();
    if (!line) drop_decoded();
  } else {
    line = decoder_.next(fresh_, max_line);
  }
  if (!line && end_of_input_) line = decoder_.finish(max_line);
  return line;
}

void RequestReader::keep_rest(BufferPool& buffers) {
  drop_decoded();
  decoder_.let_go();
  if (!fresh_.empty()) {
    buffers.lend(kept_);
    kept_.append(fresh_);
    fresh_ = {};
  }
  if (kept_.empty()) buffers.take_back(kept_);
}

void RequestReader::carry(CarriedConnection& to) {
  to.end_of_input = end_of_input_;
  to.skipping_line = decoder_.skipping();
  if (!decoder_.holding()) to.partial_line = decoder_.partial();
  drop_decoded();
  to.undecoded = kept_.release();
}

void RequestReader::restore(CarriedConnection& from) {
  end_of_input_ = from.end_of_input;
  decoder_.restore(from.partial_line, from.skipping_line);
  kept_.adopt(std::move(from.undecoded));
}

void RequestReader::forget_half_line() {
  drop_decoded();
  std::string whole = kept_.release();
  whole.resize(whole.rfind('\n') + 1);  // npos + 1 is 0
  if (whole.empty() && !decoder_.holding()) decoder_.restore({}, /*skipping=*/false);
  kept_.adopt(std::move(whole));
}

void RequestReader::abandon() {
  forget_half_line();
  end_of_input_ = true;
}

std::optional<std::string_view> RequestReader::held_line() const {
  if (!decoder_.holding()) return std::nullopt;
  return decoder_.partial();
}

}  // namespace pool_server
