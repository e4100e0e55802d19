#include "children/output_lines.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace pool_server {

namespace {

struct Told {
  std::vector<std::string> lines;
  OutputLines::Tell tell = [this](std::string_view line) { lines.emplace_back(line); };
};

using Lines = std::vector<std::string>;

}  // namespace

// Fails when lines depend on how they came in pieces, or the last one is lost.
TEST_CASE("output lines: pieces") {
  OutputLines output;
  Told told;
  output.take("a", 0, told.tell);
  output.take("b\n\nc\nd", 0, told.tell);
  CHECK(told.lines == Lines{"ab", "", "c"});
  output.finish(0, told.tell);
  CHECK(told.lines == Lines{"ab", "", "c", "d"});
  CHECK(output.last_words() == "ab / c / d");
}

// Fails when a line without end is kept as a whole, a piece of it is lost, or one is told that is
// none.
TEST_CASE("output lines: long ones") {
  OutputLines output;
  Told told;
  const std::string whole(OutputLines::kLongest, 'x');
  output.take(whole + "\n" + whole + "y\nz\n", 0, told.tell);
  CHECK(told.lines == Lines{whole, whole, "y", "z"});
  told.lines.clear();
  output.take(whole, 0, told.tell);
  output.take("\nw\n", 0, told.tell);
  CHECK(told.lines == Lines{whole, "w"});
}

// Fails when a flood is told, is not counted, or keeps what comes later from being told.
TEST_CASE("output lines: floods") {
  OutputLines output;
  Told told;
  for (int i = 0; i < 1000; ++i) output.take("noise\n", 0, told.tell);
  CHECK(told.lines.size() == OutputLines::kBurst);
  CHECK(output.take_left_out(999'999) == 0);
  CHECK(output.left_out_due() == 1'000'000);
  CHECK(output.take_left_out(1'000'000) == 1000 - OutputLines::kBurst);
  CHECK(output.left_out_due() == kNever);
  told.lines.clear();
  for (int i = 0; i < 10; ++i) output.take("later\n", 1'000'000, told.tell);
  CHECK(told.lines.size() == OutputLines::kPerSecond);
  told.lines.clear();
  for (int i = 0; i < 1000; ++i) output.take("much later\n", 1'000'000'000, told.tell);
  CHECK(told.lines.size() == OutputLines::kBurst);
  CHECK(output.last_words() == "much later / much later / much later / much later");
}

}  // namespace pool_server
