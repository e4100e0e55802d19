#include "children/frame_decoder.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace pool_server {
namespace {

using Found = FrameDecoder::Found;

std::string frame(std::uint32_t number, char outcome, const std::string& text) {
  std::string made;
  for (const auto value : {static_cast<std::uint32_t>(text.size()), number}) {
    for (int shift = 24; shift >= 0; shift -= 8) made += static_cast<char>(value >> shift);
  }
  return made + outcome + text;
}

struct Taken {
  Found found;
  std::string reply;
  std::string_view rest;
};

Taken take(FrameDecoder& decoder, std::string_view bytes, std::size_t longest = 100) {
  Taken taken;
  taken.found = decoder.take(bytes, taken.reply, longest);
  taken.rest = bytes;
  return taken;
}

TEST_CASE("frame decoder: a reply in any two pieces, an empty one too, and what comes after it") {
  for (const std::string text : {"", "a", "two\nlines\0and more"}) {
    const std::string bytes = frame(258, 1, text);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      CAPTURE(size);
      FrameDecoder decoder;
      decoder.expect(258);
      std::string reply;
      std::string_view first = std::string_view(bytes).substr(0, size);
      CHECK(decoder.take(first, reply, 100) == Found::kNothing);
      CHECK(first.empty());
      const std::string rest = bytes.substr(size) + "x";
      std::string_view second = rest;
      CHECK(decoder.take(second, reply, 100) == Found::kReply);
      CHECK(reply == text);
      CHECK(second == "x");
      CHECK(decoder.outcome() == Outcome::kError);
      CHECK_FALSE(decoder.passed_over());
    }
  }
}

TEST_CASE("frame decoder: a reply to another request is passed over, however long") {
  FrameDecoder decoder;
  decoder.expect(7);
  const std::string bytes = frame(6, 0, std::string(500, 'x')) + frame(7, 0, "mine");
  const Taken taken = take(decoder, bytes);
  CHECK(taken.found == Found::kReply);
  CHECK(taken.reply == "mine");
  CHECK(decoder.passed_over());
  decoder.expect(8);
  CHECK_FALSE(decoder.passed_over());
}

TEST_CASE("frame decoder: what has begun is for the request before") {
  FrameDecoder decoder;
  decoder.expect(1);
  const std::string first = frame(1, 0, "begun");
  CHECK(take(decoder, std::string_view(first).substr(0, 11)).found == Found::kNothing);
  decoder.expect(2);
  const std::string rest = first.substr(11) + frame(2, 0, "next");
  const Taken taken = take(decoder, rest);
  CHECK(taken.found == Found::kReply);
  CHECK(taken.reply == "next");
  CHECK(decoder.passed_over());
}

TEST_CASE("frame decoder: another program begins anew") {
  FrameDecoder decoder;
  decoder.expect(1);
  CHECK(take(decoder, std::string_view(frame(1, 0, "half of it")).substr(0, 12)).found ==
        Found::kNothing);
  decoder.begin();
  decoder.expect(2);
  const std::string bytes = frame(2, 0, "whole");
  CHECK(take(decoder, bytes).reply == "whole");
  CHECK_FALSE(decoder.passed_over());
}

TEST_CASE("frame decoder: too long a reply is told from its header, to the byte") {
  for (const std::size_t size : {100U, 101U}) {
    FrameDecoder decoder;
    decoder.expect(1);
    const std::string bytes = frame(1, 0, std::string(size, 'x'));
    CHECK(take(decoder, std::string_view(bytes).substr(0, 10)).found ==
          (size > 100 ? Found::kTooMuch : Found::kNothing));
  }
}

TEST_CASE("frame decoder: no other outcome makes sense") {
  for (const char outcome : {char{2}, char{-1}, 'x'}) {
    FrameDecoder decoder;
    decoder.expect(1);
    CHECK(take(decoder, frame(1, outcome, "text")).found == Found::kMalformed);
  }
}

}  // namespace
}  // namespace pool_server
