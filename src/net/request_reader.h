#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "core/byte_buffer.h"
#include "core/line_decoder.h"
#include "core/snapshot.h"
#include "net/buffer_pool.h"

namespace pool_server {

// The input side of a connection: bytes from the socket, cut into lines; what cannot be admitted
// yet is kept. Loop thread only.
class RequestReader {
 public:
  // Bytes that were just received; they live in the caller's buffer until keep_rest() is called.
  // Only while nothing undecoded is kept.
  void feed(std::string_view received) { fresh_ = received; }
  void end_of_input() { end_of_input_ = end_was_seen_ = true; }

  // The next line, as LineDecoder::next; at the end of input the unfinished last one.
  std::optional<LineDecoder::Line> next(std::size_t max_line);
  void hold(const LineDecoder::Line& line) { decoder_.hold(line); }
  // Saves what next() has not consumed, before the caller's buffer is used for something else, and
  // lets go of all that it has.
  void keep_rest(BufferPool& buffers);

  // Gives away what a restart carries over, and takes it back. A line that is held is not part of
  // it: see held_line().
  void carry(CarriedConnection& to);
  void restore(CarriedConnection& from);
  std::optional<std::string_view> held_line() const;

  // A line that has begun and not ended will not be completed. Not while next()'s is in use.
  void forget_half_line();
  // No more input, either.
  void abandon();

  // Bytes that are kept here.
  std::size_t bytes_held() const { return kept_.size() - decoded_ + decoder_.partial().size(); }

  bool at_end_of_input() const { return end_of_input_; }
  // It was the client's, and here: no more of its bytes can come. Not so after abandon(), nor after
  // a restart, which carries over that there is nothing to read and not why.
  bool end_was_seen() const { return end_was_seen_; }
  // Bytes or a held line wait to be decoded, so the socket is not to be read.
  bool has_backlog() const { return !kept_.empty() || decoder_.holding(); }
  // A line is here that next() would give, whatever keeps it from being asked.
  bool has_whole_line() const {
    return decoder_.holding() || ends_in_line() ||
           kept_.bytes().substr(decoded_).find('\n') != std::string_view::npos;
  }
  // A line has begun that is not complete.
  bool mid_line() const { return decoder_.mid_line(); }
  // next() may give something now.
  bool has_input() const { return !fresh_.empty() || may_have_line(); }
  // next() may give something without more bytes from the socket.
  bool may_have_line() const { return has_backlog() || ends_in_line(); }

 private:
  // The end has made a line of what came last.
  bool ends_in_line() const { return end_of_input_ && decoder_.mid_line(); }
  // Dropping moves what is left, so it waits until the line that points in there is done with.
  void drop_decoded() {
    if (decoded_ > 0) kept_.consume(std::exchange(decoded_, 0));
  }

  LineDecoder decoder_;
  ByteBuffer kept_;
  std::size_t decoded_ = 0;  // of kept_: bytes of the line returned last, dropped at the next call
  std::string_view fresh_;
  bool end_of_input_ = false;
  bool end_was_seen_ = false;
};

}  // namespace pool_server
