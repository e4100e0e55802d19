#include "core/protocol.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

namespace pool_server {
namespace {

std::string reply_line(Outcome outcome, std::string_view text) {
  std::string appended = "before|";
  protocol::append_reply(outcome, text, appended);
  std::string made(text);
  protocol::make_reply(outcome, made);
  CHECK(appended == "before|" + made);
  return made;
}

TEST_CASE("protocol: a reply is one line that says how it went") {
  CHECK(reply_line(Outcome::kOk, "text") == "result: text\n");
  CHECK(reply_line(Outcome::kError, "text") == "ERROR: text\n");
  CHECK(reply_line(Outcome::kOk, "") == "result: \n");
  CHECK(reply_line(Outcome::kError, protocol::kInvalidInput) == "ERROR: invalid input\n");
  CHECK(reply_line(Outcome::kError, protocol::kEmptyRequest) == "ERROR: empty request\n");
}

TEST_CASE("protocol: no control byte reaches a client, whatever the text holds") {
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte.push_back(static_cast<char>(byte));
  const std::string line = reply_line(Outcome::kOk, every_byte);
  REQUIRE(line.size() == every_byte.size() + 9);
  for (std::size_t i = 0; i < every_byte.size(); ++i) {
    const auto byte = static_cast<unsigned char>(every_byte[i]);
    const bool control = byte < 0x20 || byte == 0x7f;
    CAPTURE(i);
    CHECK(line[i + 8] == (control ? '?' : every_byte[i]));
  }
  CHECK(std::count(line.begin(), line.end(), '\n') == 1);
}

TEST_CASE("protocol: a control byte is found wherever it stands, and nothing else is one") {
  for (std::size_t size = 1; size < 26; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        for (const char beside : {' ', '~', '\x80', '\xff'}) {
          std::string text(size, beside);
          text[at] = static_cast<char>(byte);
          REQUIRE(protocol::has_control_bytes(text) == (byte < 0x20 || byte == 0x7f));
        }
      }
    }
  }
}

TEST_CASE("protocol: what is already in the output is left alone") {
  std::string out = "result: one\n";
  protocol::append_reply(Outcome::kOk, "a\nb", out);
  CHECK(out == "result: one\nresult: a?b\n");
}

TEST_CASE("protocol: messages name the limit") {
  CHECK(protocol::line_too_long(65536) == "line too long (max 65536 bytes)");
  CHECK(protocol::timed_out(500'000) == "timed out after 500 ms");
}

}  // namespace
}  // namespace pool_server
