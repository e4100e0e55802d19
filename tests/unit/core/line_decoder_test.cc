#include "core/line_decoder.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

namespace pool_server {
namespace {

const std::string kTooLong = "<too long>";

// What a stream means, said as simply as possible.
std::vector<std::string> lines_of(std::string_view stream, std::size_t max_line) {
  std::vector<std::string> lines;
  while (!stream.empty()) {
    const std::size_t end = stream.find('\n');
    std::string_view line = stream.substr(0, end);
    if (end != std::string_view::npos && line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line.size() > max_line ? kTooLong : std::string(line));
    stream.remove_prefix(end == std::string_view::npos ? stream.size() : end + 1);
  }
  return lines;
}

std::string text_of(const LineDecoder::Line& line) {
  return line.too_long ? kTooLong : std::string(line.text);
}

// Takes every line that `piece` completes. Runs so often that CHECKs would cost more than the rest.
// `hold` says whether to refuse a line for the moment.
template <class Hold>
void feed(LineDecoder& decoder, std::string_view piece, std::size_t max_line, Hold hold,
          std::vector<std::string>& lines) {
  while (const auto line = decoder.next(piece, max_line)) {
    if (!line->too_long && hold()) {
      decoder.hold(*line);
      if (!decoder.holding()) FAIL("forgets what it is to hold");
    } else {
      lines.push_back(text_of(*line));
    }
    if (decoder.partial().size() > max_line + 1) FAIL("keeps more than it needs");
  }
  if (!piece.empty()) FAIL("leaves bytes behind");
  if (decoder.partial().size() > max_line + 1) FAIL("keeps more than it needs");
}

template <class Hold>
void finish(LineDecoder& decoder, std::size_t max_line, Hold hold,
            std::vector<std::string>& lines) {
  while (const auto line = decoder.finish(max_line)) {
    if (!line->too_long && hold()) {
      decoder.hold(*line);
    } else {
      lines.push_back(text_of(*line));
    }
  }
  if (decoder.mid_line()) FAIL("goes on after the end");
}

bool never() {
  return false;
}

TEST_CASE("line decoder: every way to cut a stream gives the same lines") {
  const std::string stream = "a\r\n\r\nbcde\n\nx\r";
  for (std::size_t max_line = 0; max_line <= 5; ++max_line) {
    const auto expected = lines_of(stream, max_line);
    for (unsigned cuts = 0; cuts < 1U << (stream.size() - 1); ++cuts) {
      LineDecoder decoder;
      std::vector<std::string> lines;
      std::size_t start = 0;
      for (std::size_t end = 1; end <= stream.size(); ++end) {
        const bool cut = end == stream.size() || (cuts >> (end - 1) & 1U) != 0;
        if (!cut) continue;
        feed(decoder, std::string_view(stream).substr(start, end - start), max_line, never, lines);
        start = end;
      }
      finish(decoder, max_line, never, lines);
      if (lines == expected) continue;
      CAPTURE(max_line);
      CAPTURE(cuts);
      REQUIRE(lines == expected);
    }
  }
}

TEST_CASE("line decoder: lines that are held come again, whatever the pieces") {
  std::mt19937 random(1);
  const auto chance = [&](unsigned one_in) { return random() % one_in == 0; };
  for (int round = 0; round < 3000; ++round) {
    std::string stream(random() % 60, ' ');
    for (char& byte : stream) byte = "ab\r\n"[random() % 4];
    const std::size_t max_line = random() % 8;

    LineDecoder decoder;
    std::vector<std::string> lines;
    std::string_view rest = stream;
    while (!rest.empty()) {
      const std::size_t size = 1 + random() % rest.size();
      feed(
          decoder, rest.substr(0, size), max_line, [&] { return chance(3); }, lines);
      rest.remove_prefix(size);
    }
    finish(
        decoder, max_line, [&] { return chance(3); }, lines);
    REQUIRE(lines == lines_of(stream, max_line));
  }
}

TEST_CASE("line decoder: only one CR belongs to the line end") {
  LineDecoder decoder;
  std::vector<std::string> lines;
  feed(decoder, "a\r\r\nb\rc\n\r\n", 10, never, lines);
  CHECK(lines == std::vector<std::string>{"a\r", "b\rc", ""});
}

TEST_CASE("line decoder: a line of exactly the limit passes, one byte more is too long") {
  LineDecoder decoder;
  std::vector<std::string> lines;
  feed(decoder, "1234\r\n12345\n1234\n", 4, never, lines);
  CHECK(lines == std::vector<std::string>{"1234", kTooLong, "1234"});
}

TEST_CASE("line decoder: a too long line is reported as soon as that is known, and once") {
  LineDecoder decoder;
  std::string_view input = "12345";
  auto line = decoder.next(input, 4);
  REQUIRE(line);
  CHECK(line->too_long);
  CHECK(decoder.skipping());
  CHECK(decoder.mid_line());
  CHECK_FALSE(decoder.next(input, 4));
  std::vector<std::string> lines;
  feed(decoder, std::string(100'000, 'x'), 4, never, lines);
  CHECK(lines.empty());
  CHECK(decoder.partial().empty());
  feed(decoder, "x\nok\n", 4, never, lines);
  CHECK(lines == std::vector<std::string>{"ok"});
  CHECK_FALSE(decoder.skipping());
}

TEST_CASE("line decoder: the end of the stream while a too long line is skipped adds nothing") {
  LineDecoder decoder;
  std::vector<std::string> lines;
  feed(decoder, "12345678", 4, never, lines);
  finish(decoder, 4, never, lines);
  CHECK(lines == std::vector<std::string>{kTooLong});
}

TEST_CASE("line decoder: a held line is returned by either kind of call") {
  for (const bool by_finish : {false, true}) {
    LineDecoder decoder;
    std::string_view input = "one\n";
    decoder.hold(*decoder.next(input, 10));
    CHECK(decoder.holding());
    std::string_view more = "two\n";
    const auto again = by_finish ? decoder.finish(10) : decoder.next(more, 10);
    REQUIRE(again);
    CHECK(again->text == "one");
    CHECK_FALSE(decoder.holding());
    CHECK(more == "two\n");
    const auto next = decoder.next(more, 10);
    REQUIRE(next);
    CHECK(next->text == "two");
  }
}

TEST_CASE("line decoder: tells whether a line has been begun") {
  LineDecoder decoder;
  CHECK_FALSE(decoder.mid_line());
  std::string_view input = "par";
  CHECK_FALSE(decoder.next(input, 10));
  CHECK(decoder.mid_line());
  input = "tial\n";
  const auto line = decoder.next(input, 10);
  REQUIRE(line);
  CHECK(line->text == "partial");
  CHECK_FALSE(decoder.mid_line());
}

TEST_CASE("line decoder: another decoder goes on where one was cut off") {
  const std::string stream = "one\r\ntoo long\nx\r\nlast";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    LineDecoder before;
    std::vector<std::string> lines;
    feed(before, std::string_view(stream).substr(0, cut), 4, never, lines);
    LineDecoder after;
    after.restore(before.partial(), before.skipping());
    feed(after, std::string_view(stream).substr(cut), 4, never, lines);
    finish(after, 4, never, lines);
    CAPTURE(cut);
    CHECK(lines == lines_of(stream, 4));
  }
}

TEST_CASE("line decoder: nothing stays in it of a line that came in pieces, short or too long") {
  const auto contains_secret = [](const LineDecoder& decoder) {
    const auto* begin = reinterpret_cast<const char*>(&decoder);
    return std::string_view(begin, sizeof decoder).find("ecret") != std::string_view::npos;
  };
  LineDecoder decoder;  // a short line lies in the object itself
  std::string_view input = "secret";
  CHECK_FALSE(decoder.next(input, 10));
  CHECK(contains_secret(decoder));
  input = "\n";
  CHECK(decoder.next(input, 10)->text == "secret");
  CHECK_FALSE(decoder.next(input, 10));
  CHECK_FALSE(contains_secret(decoder));
  input = "secret";
  CHECK_FALSE(decoder.next(input, 6));
  input = "x\n";
  CHECK(decoder.next(input, 6)->too_long);
  CHECK_FALSE(contains_secret(decoder));
}

}  // namespace
}  // namespace pool_server
