#include "core/command_words.h"

#include <doctest/doctest.h>

#include <stdexcept>

namespace pool_server {

using Words = std::vector<std::string>;

// Fails when words are not where blanks and quotes put them.
TEST_CASE("command words: blanks and quotes") {
  CHECK(split_command("cat") == Words{"cat"});
  CHECK(split_command("  sed\t-u   s/a/b/ ") == Words{"sed", "-u", "s/a/b/"});
  CHECK(split_command("jq -c '.a | .b'") == Words{"jq", "-c", ".a | .b"});
  CHECK(split_command(R"(a "b c" d"e f"g '' "")") == Words{"a", "b c", "de fg", "", ""});
  CHECK(split_command(R"(a "it's" 'say "x"')") == Words{"a", "it's", "say \"x\""});
}

// Fails when an escape is not what systemd takes it for, or something unknown is lost.
TEST_CASE("command words: escapes") {
  CHECK(split_command(R"(a \s\t\x41\101\\ '\'' "\"")") == Words{"a", " \tAA\\", "'", "\""});
  CHECK(split_command(R"(sed s/\./\d/ \x4 \9)") == Words{"sed", "s/\\./\\d/", "\\x4", "\\9"});
  CHECK(split_command("$HOME %i ; * ~") == Words{"$HOME", "%i", ";", "*", "~"});
}

// Fails when what makes no sense is run as something else.
TEST_CASE("command words: what is none") {
  for (const char* command :
       {"", "   ", "'' x", "a 'b", "a \"b", "a 'b\"", "a\\", "a 'b\\'", "a \\x00", "a \\000"}) {
    CAPTURE(command);
    CHECK_THROWS_AS(split_command(command), std::invalid_argument);
  }
  for (const std::string_view text : {"a\0b", "\\\0b"}) {
    CHECK_THROWS_AS(split_command({text.data(), 3}), std::invalid_argument);
  }
}

}  // namespace pool_server
