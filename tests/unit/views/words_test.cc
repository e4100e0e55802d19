#include "views/words.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <optional>

namespace pool_server::views {
namespace {

TEST_CASE("words: counts in groups of three") {
  CHECK(in_groups(0) == "0");
  CHECK(in_groups(999) == "999");
  CHECK(in_groups(1000) == "1,000");
  CHECK(in_groups(123'456) == "123,456");
  CHECK(in_groups(1'234'567) == "1,234,567");
  CHECK(in_groups(std::numeric_limits<std::uint64_t>::max()) == "18,446,744,073,709,551,615");
}

TEST_CASE("words: rates") {
  CHECK(rate_in_words(std::nullopt) == "–");
  CHECK(rate_in_words(0) == "0");
  CHECK(rate_in_words(0.5) == "0.5");
  CHECK(rate_in_words(9.96) == "10");
  CHECK(rate_in_words(12'345.6) == "12,346");
  CHECK(rate_in_words(-1) == "0");
  CHECK(rate_in_words(std::nan("")) == "–");
  CHECK(rate_in_words(1e300) == "9,000,000,000,000,000");
}

TEST_CASE("words: durations have a unit that fits, and no digit too many") {
  struct Row {
    double seconds;
    const char* words;
  };
  const Row rows[] = {
      {0, "0 µs"},
      {0.00034, "340 µs"},
      {0.000999, "999 µs"},
      {0.0009999, "1.0 ms"},
      {0.0012, "1.2 ms"},
      {0.0099, "9.9 ms"},
      {0.012, "12 ms"},
      {0.9994, "999 ms"},
      {0.9999, "1.0 s"},
      {1.5, "1.5 s"},
      {38, "38 s"},
      {59.4, "59 s"},
      {65, "1 min 5 s"},
      {7300, "2 h 1 min"},
      {273'600, "3 d 4 h"},
      {-1, "0 µs"},
      {1e300, "104166666666 d 16 h"},
  };
  for (const Row& row : rows) CHECK(duration_in_words(row.seconds) == row.words);
  CHECK(duration_in_words(std::nullopt) == "–");
  CHECK(duration_in_words(INFINITY) == "–");
  CHECK(age_in_words(0.9) == "0 s");
  CHECK(age_in_words(59.9) == "59 s");
  CHECK(age_in_words(60) == "1 min 0 s");
}

}  // namespace
}  // namespace pool_server::views
