#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/handler.h"

namespace pool_server {

// Takes the replies of a program that speaks in frames (pool-server-program(7)) out of what it
// writes, in whatever pieces that comes: length and number, four bytes each with the most
// significant first, a byte of outcome, and the text. Pure.
class FrameDecoder {
 public:
  enum class Found : unsigned char { kNothing, kReply, kTooMuch, kMalformed };

  // What comes from here on is another program's.
  void begin() { header_size_ = left_ = 0; }
  // Of the request whose reply is due. A frame with another number is passed over.
  void expect(std::uint32_t number) {
    number_ = number;
    passed_over_ = false;
    stale_ = true;  // what has begun already
  }

  // Takes `bytes` up to the end of the reply, and appends its text to `reply`, at most so long with
  // what stands there. After kTooMuch and kMalformed nothing that the program writes makes sense.
  Found take(std::string_view& bytes, std::string& reply, std::size_t longest);

  // Of the reply.
  Outcome outcome() const { return outcome_; }
  // There was a whole frame for another request since this one is expected.
  bool passed_over() const { return passed_over_; }

 private:
  static constexpr std::size_t kHeader = 9;

  bool take_header(std::string_view& bytes);

  std::uint32_t number_ = 0;
  std::array<char, kHeader> header_{};
  std::size_t header_size_ = 0;  // bytes that are there
  std::size_t left_ = 0;         // bytes of the text still to come
  bool stale_ = false;           // it is for another request
  bool passed_over_ = false;
  Outcome outcome_ = Outcome::kOk;
};

}  // namespace pool_server
