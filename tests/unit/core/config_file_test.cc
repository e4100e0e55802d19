#include "core/config_file.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace pool_server {
namespace {

using Values = std::vector<std::string>;

std::vector<ConfigLine> lines_of(std::string_view text) {
  ConfigReader reader(text);
  std::vector<ConfigLine> lines;
  while (auto line = reader.next()) lines.push_back(std::move(*line));
  return lines;
}

TEST_CASE("configuration text: the forms of a setting") {
  // Fails when a value is cut, is split, or keeps what does not belong to it.
  struct Row {
    std::string_view text;
    const char* name;
    Values values;
  };
  const Row rows[] = {
      {"workers=4", "workers", {"4"}},
      {"  workers \t=\t 4 \t", "workers", {"4"}},
      {"workers=4\r", "workers", {"4"}},
      {"PORT=1", "PORT", {"1"}},
      {"x=", "x", {""}},
      {"x=\"\"", "x", {""}},
      {"x=a=b", "x", {"a=b"}},
      {"x=a=b c=d", "x", {"a=b c=d"}},
      {"x=a;b", "x", {"a;b"}},
      {"x=a # b", "x", {"a # b"}},
      {"x=a,b", "x", {"a,b"}},
      {"x=say \"hi\"", "x", {"say \"hi\""}},
      {"x=it's", "x", {"it's"}},
      {"x=\"a;b\"", "x", {"a;b"}},
      {"x=\" a b \"", "x", {" a b "}},
      {"x=\"a\\\"", "x", {"a\\"}},
      {"x=\"[a]\"", "x", {"[a]"}},
      {"x=[::1]:80", "x", {"[::1]:80"}},
      {"x=[", "x", {"["}},
      {"x=a[b]", "x", {"a[b]"}},
      {"x=[a]", "x", {"a"}},
      {"x=[ a , b ]", "x", {"a", "b"}},
      {"x=[\"a,b\", c d]", "x", {"a,b", "c d"}},
      {"x=[[::1]:80,/p]", "x", {"[::1]:80", "/p"}},
      {"x=\xc3\xa4\xff", "x", {"\xc3\xa4\xff"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto lines = lines_of(row.text);
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].number == 1);
    CHECK(lines[0].fault == "");
    CHECK(lines[0].name == row.name);
    CHECK(lines[0].values == row.values);
  }
  CHECK(lines_of("x=[a]")[0].is_list);
  CHECK_FALSE(lines_of("x=\"[a]\"")[0].is_list);
}

TEST_CASE("configuration text: a name is of letters, then of digits and hyphens, too") {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (char byte = '!'; byte <= '~'; ++byte) {
    if (byte == '=' || byte == '#' || byte == ';') continue;  // the end of a name; a comment
    const std::string name(1, byte);
    CAPTURE(name);
    const bool is_letter = kLetters.find(byte) != std::string_view::npos;
    const bool follows =
        is_letter || std::string_view("0123456789-").find(byte) != std::string_view::npos;
    CHECK((lines_of(name + "=1").at(0).name == name) == is_letter);
    CHECK((lines_of("x" + name + "y=1").at(0).name == "x" + name + "y") == follows);
  }
}

TEST_CASE("configuration text: what is none is a fault, and hides nothing") {
  // Fails when a line of which we cannot say what it means is taken or passed over.
  const std::string_view wrong[] = {
      "workers",   "=4",      "a b=4",     "4=4",       "-a=4",       "a_b=4",       "a.b=4",
      "\"a\"=4",   "[x]",     "[default]", "[x]=4",     "x='a'",      "x=\"a",       "x=\"a\"b",
      "x=\"a\" b", "x=\"",    "x=[]",      "x=[a,]",    "x=[,a]",     "x=[\"\"]",    "x=[\"a\"b]",
      "x=[a\"b]",  "x=[\"a]", "x=['a']",   "x=a\x01",   "x=\x7f",     "x=a\rb",      "# \x1b[31m",
      "\xff=4",    "\f",      "x=a\v",     "x=4\r\r\n", "\xef\xbb=4", "\"\"\"x=4\"", "--x=4",
  };
  for (const std::string_view text : wrong) {
    CAPTURE(text);
    const auto lines = lines_of("a=1\n" + std::string(text) + "\nb=2");
    REQUIRE(lines.size() == 3);
    CHECK(lines[1].number == 2);
    CHECK(lines[1].fault != "");
    CHECK(lines[1].name == "");
    CHECK(lines[1].values == Values{});
    CHECK(lines[2].name == "b");
  }
  CHECK(lines_of(std::string_view("x=a\0b", 5)).at(0).fault != "");
  CHECK(lines_of(std::string_view("\0", 1)).at(0).fault != "");
}

TEST_CASE("configuration text: comments, empty lines and line ends say nothing, and are counted") {
  // Fails when a comment is taken for a setting, or a fault would be told for another line.
  const auto lines = lines_of("\xef\xbb\xbf# x=1\n\n \t\n  ; y=2\r\n\r\na=1\r\nb=2");
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].number == 6);
  CHECK(lines[0].name == "a");
  CHECK(lines[1].number == 7);
  CHECK(lines[1].name == "b");
  CHECK(lines_of("").empty());
  CHECK(lines_of("\n\n").empty());
  CHECK(lines_of("\xef\xbb\xbf").empty());
  CHECK(lines_of("\n\xef\xbb\xbf").at(0).fault != "");  // at the beginning only
}

TEST_CASE("configuration text: each line stands for itself") {
  // Fails when the meaning of a line depends on its neighbours: on a quote or bracket left open.
  const std::string_view pieces[] = {"x",  "=", "\"", "[", "]",     ",",   ";",
                                     "\n", " ", "#",  "'", "\r\n",  "y",   "\n\n",
                                     "\t", "-", "1",  "=", "a=b\n", "\x01"};
  std::mt19937 random(10);
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (auto count = random() % 30; count > 0; --count) {
      text += pieces[random() % std::size(pieces)];
    }
    CAPTURE(text);
    const auto together = lines_of(text);
    std::size_t found = 0;
    std::size_t number = 1;
    for (std::size_t begin = 0; begin < text.size(); ++number) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      for (const ConfigLine& alone : lines_of(std::string_view(text).substr(begin, end - begin))) {
        REQUIRE(found < together.size());
        CHECK(together[found].number == number);
        CHECK(together[found].name == alone.name);
        CHECK(together[found].values == alone.values);
        CHECK(together[found].fault == alone.fault);
        ++found;
      }
      begin = end + 1;
    }
    CHECK(found == together.size());
  }
}

}  // namespace
}  // namespace pool_server
