#include "core/json.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>

namespace pool_server {
namespace {

std::string text(std::string_view value) {
  std::string out;
  JsonWriter(out).text(value);
  return out;
}

TEST_CASE("json: commas stand between what is side by side, and nowhere else") {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("a").number(std::uint64_t{1});
  json.key("b").begin_array().end_array();
  json.key("c").begin_array().text("x").null().begin_object().end_object().boolean(true);
  json.end_array().key("d").boolean(false).end_object();
  CHECK(out == R"({"a":1,"b":[],"c":["x",null,{},true],"d":false})");
}

TEST_CASE("json: a text that ends like a bracket or a key takes no comma away") {
  std::string out;
  JsonWriter json(out);
  json.begin_array().text("[").text("{").text(":").text(",").end_array();
  CHECK(out == R"(["[","{",":",","])");
}

TEST_CASE("json: what may not be in a text is escaped, whatever bytes there are") {
  CHECK(text("a\"b\\c/d") == R"("a\"b\\c/d")");
  CHECK(text(std::string("\0\n\x1f\x7f", 4)) == R"("\u0000\u000a\u001f\u007f")");
  CHECK(text("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80") == "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
  const std::string bad = "\xef\xbf\xbd";
  for (const char* piece : {"\xff", "\x80", "\xc3", "\xc0", "\xc1", "\xf5", "\xe2"}) {
    CAPTURE(piece);
    CHECK(text(std::string(piece) + "x") == "\"" + bad + "x\"");
  }
  CHECK(text("\xc0\xaf") == "\"" + bad + bad + "\"");                      // overlong
  CHECK(text("\xe0\x80\x80") == "\"" + bad + bad + bad + "\"");            // the same
  CHECK(text("\xed\xa0\x80") == "\"" + bad + bad + bad + "\"");            // a surrogate
  CHECK(text("\xf4\x90\x80\x80") == "\"" + bad + bad + bad + bad + "\"");  // above U+10FFFF
  CHECK(text("\xf0\x8f\xbf\xbf") == "\"" + bad + bad + bad + bad + "\"");
}

TEST_CASE("json: numbers are exact, and null where there is none") {
  std::string out;
  JsonWriter json(out);
  json.begin_array().number(std::numeric_limits<std::uint64_t>::max()).number(0.1);
  json.number(std::numeric_limits<double>::infinity()).seconds(1'500'000).seconds(83).seconds(-1);
  json.end_array();
  CHECK(out == "[18446744073709551615,0.1,null,1.5,8.3e-05,-1e-06]");
}

}  // namespace
}  // namespace pool_server
