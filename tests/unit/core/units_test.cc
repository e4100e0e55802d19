#include "core/units.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

namespace pool_server {
namespace {

TEST_CASE("units: sizes") {
  struct Row {
    const char* text;
    std::size_t bytes;
    const char* shortest;
  };
  const Row rows[] = {
      {"0", 0, "0"},
      {"1", 1, "1B"},
      {"512", 512, "512B"},
      {"512B", 512, "512B"},
      {"1024", 1024, "1KiB"},
      {"64KiB", 65536, "64KiB"},
      {"64K", 65536, "64KiB"},
      {"64KB", 65536, "64KiB"},
      {"64 KiB", 65536, "64KiB"},
      {"1.5KiB", 1536, "1536B"},
      {"1MiB", 1 << 20, "1MiB"},
      {"3MB", 3 << 20, "3MiB"},
      {"1024M", 1 << 30, "1GiB"},
      {"2GiB", std::size_t{2} << 30, "2GiB"},
      {"900000GiB", std::size_t{900'000} << 30, "900000GiB"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto parsed = parse_size(row.text);
    REQUIRE(parsed.has_value());
    CHECK(*parsed == row.bytes);
    CHECK(format_size(row.bytes) == row.shortest);
  }
}

TEST_CASE("units: times") {
  struct Row {
    const char* text;
    TimeUs us;
    const char* shortest;
  };
  const Row rows[] = {
      {"0", 0, "0"},
      {"2", 2'000'000, "2s"},
      {"2s", 2'000'000, "2s"},
      {"250us", 250, "250us"},
      {"500ms", 500'000, "500ms"},
      {"1.5s", 1'500'000, "1500ms"},
      {"0.5 s", 500'000, "500ms"},
      {"1min", 60'000'000, "1min"},
      {"90s", 90'000'000, "90s"},
      {"120s", 120'000'000, "2min"},
      {"1h", 3'600'000'000, "1h"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto parsed = parse_duration(row.text);
    REQUIRE(parsed.has_value());
    CHECK(*parsed == row.us);
    CHECK(format_duration(row.us) == row.shortest);
  }
}

TEST_CASE("units: what is neither") {
  for (const char* text : {"", " ", "x", "s", "-1", "-0", "1x", "1  s", "s1", "1s ", "1e3", "0x10",
                           "nan", "inf", "1 2", "1e400", "99999999999999999999h", "1;"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_size(text).has_value());
    CHECK_FALSE(parse_duration(text).has_value());
  }
  CHECK_FALSE(parse_size("1s").has_value());
  CHECK_FALSE(parse_size("1kib").has_value());
  CHECK_FALSE(parse_size("1000000GiB").has_value());
  CHECK_FALSE(parse_duration("1KiB").has_value());
  CHECK_FALSE(parse_duration("1S").has_value());
  CHECK_FALSE(parse_duration("1m").has_value());  // minute or million: say which
  // Rounded to 0 they would be "no limit".
  CHECK_FALSE(parse_duration("0.1us").has_value());
  CHECK_FALSE(parse_duration("0.0000001").has_value());
  CHECK_FALSE(parse_size("0.1B").has_value());
}

TEST_CASE("units: what is formatted reads back as the same") {
  std::mt19937_64 random(6);
  for (int i = 0; i < 2000; ++i) {
    const auto value = static_cast<TimeUs>(random() % (std::uint64_t{1} << (1 + random() % 49)));
    const auto size = static_cast<std::size_t>(value);
    CHECK(parse_duration(format_duration(value)) == value);
    CHECK(parse_size(format_size(size)) == size);
  }
}

}  // namespace
}  // namespace pool_server
