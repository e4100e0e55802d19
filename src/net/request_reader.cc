#include "net/request_reader.h"

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
  if (!fresh_.empty()) {
    buffers.lend(kept_);
    kept_.append(fresh_);
    fresh_ = {};
  }
  if (kept_.empty()) buffers.take_back(kept_);
}

// Dropping moves what is left, so it waits until the line that points in there is done with.
void RequestReader::drop_decoded() {
  kept_.consume(decoded_);
  decoded_ = 0;
}

}  // namespace pool_server
