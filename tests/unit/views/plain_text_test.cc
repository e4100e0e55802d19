#include "views/plain_text.h"

#include <doctest/doctest.h>

#include <string>

namespace pool_server::views {
namespace {

TEST_CASE("plain text: what people write stays as it is") {
  for (const char* text :
       {"", "digest", "127.0.0.1:9090", "größer als 5 µs", "日本語", "a\xF0\x9F\x99\x82z"}) {
    CHECK(plain_text(text) == text);
  }
}

TEST_CASE("plain text: nothing that a terminal would act on gets through") {
  struct Row {
    std::string text, plain;
  };
  using namespace std::string_literals;
  const Row rows[] = {
      {"\x1B[2J\x1B]0;title\x07", "?[2J?]0;title?"},
      {"a\0b\nc\rd\te\x7F"s, "a?b?c?d?e?"},
      {"\xC2\x9B"
       "31m \xC2\x80 \xC2\x9F",
       "?31m ? ?"},  // C1: CSI as one character
      {"\x9B"
       "31m",
       "?31m"},  // and as one byte
      {"\xE2\x80\xAE"
       "evil \xE2\x81\xA6 \xE2\x80\x8B",
       "?evil ? ?"},  // right to left, isolate, no width
      {"\xEF\xBB\xBF \xE2\x80\xA8 \xC2\xAD", "? ? ?"},
      {"\xEE\x80\x80 \xF3\xA0\x80\x81", "? ?"},  // private, tag
  };
  for (const Row& row : rows) CHECK(plain_text(row.text) == row.plain);
}

TEST_CASE("plain text: what is no UTF-8 is a question mark a byte") {
  struct Row {
    const char *text, *plain;
  };
  const Row rows[] = {
      {"\xC0\xAF", "??"},      {"\xE0\x80\xAF", "???"},      {"\xF0\x80\x80\xAF", "????"},
      {"\xED\xA0\x80", "???"}, {"\xF4\x90\x80\x80", "????"}, {"\xC3", "?"},
      {"\xC3(", "?("},         {"\xE2\x82", "??"},           {"\xFF\xFE", "??"},
      {"a\x80z", "a?z"},
  };
  for (const Row& row : rows) CHECK(plain_text(row.text) == row.plain);
}

TEST_CASE("plain text: cut") {
  CHECK(length_of("µs – …") == 6);
  CHECK(cut("µs", 2) == "µs");
  CHECK(cut("µµµ", 2) == "µ…");
  CHECK(cut("abc", 1) == "…");
  CHECK(cut("abc", 0).empty());
}

TEST_CASE("plain text: in ASCII") {
  CHECK(to_ascii("340 µs – a…") == "340 us - a~");
  CHECK(to_ascii(" ▁▂▃▄▅▆▇█") == " _.:-=+*#");
  CHECK(to_ascii("größer") == "gr??er");
}

}  // namespace
}  // namespace pool_server::views
