// What a program writes, in any pieces: the reply is the one that a decoder of the whole finds, and
// so is what is left.

#include "children/frame_decoder.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "must.h"

namespace {

using namespace pool_server;
using Found = FrameDecoder::Found;

constexpr std::size_t kLongest = 40;
constexpr std::size_t kHeader = 9;

struct Result {
  Found found = Found::kNothing;
  std::string reply;
  Outcome outcome = Outcome::kOk;
  bool passed_over = false;
  std::size_t used = 0;
};

std::uint32_t number_at(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes.substr(0, 4)) value = value * 256 + static_cast<unsigned char>(byte);
  return value;
}

// Of all there is at once, as the manual page has it.
Result naive(std::string_view bytes, std::uint32_t number) {
  Result result;
  while (bytes.size() - result.used >= kHeader) {
    const std::string_view frame = bytes.substr(result.used);
    const std::size_t size = number_at(frame);
    const bool is_due = number_at(frame.substr(4)) == number;
    const char outcome = frame[kHeader - 1];
    const bool is_whole = frame.size() - kHeader >= size;
    if (outcome != 0 && outcome != 1) {
      result.found = Found::kMalformed;
    } else if (is_due && size > kLongest) {
      result.found = Found::kTooMuch;
    } else if (is_due && is_whole) {
      result.found = Found::kReply;
      result.outcome = outcome == 0 ? Outcome::kOk : Outcome::kError;
    }
    if (result.found == Found::kMalformed || result.found == Found::kTooMuch) return result;
    if (is_due) result.reply = frame.substr(kHeader, size);
    if (!is_whole) break;
    result.used += kHeader + size;
    if (is_due) return result;
    result.passed_over = true;
  }
  result.used = bytes.size();
  return result;
}

Result in_pieces(std::string_view bytes, std::uint32_t number, std::string_view sizes) {
  FrameDecoder decoder;
  decoder.expect(number);
  Result result;
  for (std::size_t at = 0; result.found == Found::kNothing && result.used < bytes.size(); ++at) {
    const std::size_t size = sizes.empty()
                                 ? bytes.size()
                                 : static_cast<unsigned char>(sizes[at % sizes.size()]) % 16 + 1;
    const std::string_view piece = bytes.substr(result.used, size);
    std::string_view rest = piece;
    result.found = decoder.take(rest, result.reply, kLongest);
    result.used += piece.size() - rest.size();
  }
  result.passed_over = decoder.passed_over();
  if (result.found == Found::kReply) result.outcome = decoder.outcome();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view sizes = bytes.substr(0, std::min<std::size_t>(size, 4));
  bytes.remove_prefix(sizes.size());
  const std::uint32_t number = bytes.size() < 8 ? 0 : number_at(bytes.substr(4));
  for (const std::uint32_t due : {number, number + 1, std::uint32_t{1}}) {
    const Result wanted = naive(bytes, due);
    const Result got = in_pieces(bytes, due, sizes);
    must(got.found == wanted.found && got.passed_over == wanted.passed_over);
    const bool is_whole = wanted.found == Found::kReply || wanted.found == Found::kNothing;
    if (is_whole)
      must(got.reply == wanted.reply && got.used == wanted.used && got.outcome == wanted.outcome);
  }
  return 0;
}
