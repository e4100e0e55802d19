#include "core/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>

namespace pool_server {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// How many bytes of `text` are one well-formed character of UTF-8 (table 3-7 of the Unicode
// Standard); 0: its first byte begins none.
std::size_t character(std::string_view text) {
  const auto byte = [text](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&byte](std::size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  const unsigned second = byte(1);
  if (first >= 0xe0 && first <= 0xef) {
    const bool sound = second >= (first == 0xe0 ? 0xa0U : 0x80U) &&
                       second <= (first == 0xed ? 0x9fU : 0xbfU) && continues(2);
    return sound ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool sound = second >= (first == 0xf0 ? 0x90U : 0x80U) &&
                       second <= (first == 0xf4 ? 0x8fU : 0xbfU) && continues(2) && continues(3);
    return sound ? 4 : 0;
  }
  return 0;
}

void append_escape(unsigned char c, std::string& out) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out.append("\\u00");
  out.push_back(kDigits[c >> 4U]);
  out.push_back(kDigits[c & 15U]);
}

template <class Number>
void append_number(Number value, std::string& out) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

}  // namespace

JsonWriter& JsonWriter::key(std::string_view name) {
  text(name);
  out_.push_back(':');
  return *this;
}

JsonWriter& JsonWriter::text(std::string_view value) {
  separate();
  out_.push_back('"');
  while (!value.empty()) {
    const std::size_t size = character(value);
    const auto first = static_cast<unsigned char>(value.front());
    if (size == 0) {
      out_.append(kReplacement);
    } else if (first == '"' || first == '\\') {
      out_.push_back('\\');
      out_.push_back(value.front());
    } else if (first < ' ' || first == 0x7f) {
      append_escape(first, out_);
    } else {
      out_.append(value.substr(0, size));
    }
    value.remove_prefix(size == 0 ? 1 : size);
  }
  out_.push_back('"');
  return *this;
}

JsonWriter& JsonWriter::number(std::uint64_t value) {
  separate();
  append_number(value, out_);
  return *this;
}

JsonWriter& JsonWriter::number(double value) {
  if (!std::isfinite(value)) return null();
  separate();
  append_number(value, out_);
  return *this;
}

JsonWriter& JsonWriter::seconds(std::int64_t us) {
  return number(static_cast<double>(us) / 1e6);
}

JsonWriter& JsonWriter::boolean(bool value) {
  separate();
  out_.append(value ? "true" : "false");
  return *this;
}

JsonWriter& JsonWriter::null() {
  separate();
  out_.append("null");
  return *this;
}

// What was written last tells whether a comma is due.
void JsonWriter::separate() {
  if (out_.empty()) return;
  const char last = out_.back();
  if (last != '{' && last != '[' && last != ':') out_.push_back(',');
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  out_.push_back(bracket);
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  out_.push_back(bracket);
  return *this;
}

}  // namespace pool_server
