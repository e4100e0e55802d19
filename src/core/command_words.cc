#include "core/command_words.h"

#include <charconv>
#include <optional>
#include <stdexcept>

namespace pool_server {

namespace {

constexpr std::string_view kEscaped = "abfnrtvs\\\"'";
constexpr std::string_view kMeant = "\a\b\f\n\r\t\v \\\"'";
static_assert(kEscaped.size() == kMeant.size());
constexpr const char* kZero = "there is a byte of 0 in it";

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// The byte that exactly `digits` digits at the start of `text` stand for.
std::optional<char> take_number(std::string_view& text, std::size_t digits, int base) {
  if (text.size() < digits) return std::nullopt;
  unsigned value = 0;
  const char* const end = text.data() + digits;
  const auto [rest, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc() || rest != end || value > 0xff) return std::nullopt;
  if (value == 0) throw std::invalid_argument(kZero);
  text.remove_prefix(digits);
  return static_cast<char>(value);
}

// What follows a backslash.
void take_escape(std::string_view& text, std::string& word) {
  if (text.empty()) throw std::invalid_argument("nothing follows the last backslash");
  if (text.front() == '\0') throw std::invalid_argument(kZero);
  if (const std::size_t index = kEscaped.find(text.front()); index != std::string_view::npos) {
    word.push_back(kMeant[index]);
    text.remove_prefix(1);
    return;
  }
  std::string_view digits = text;
  const bool is_hex = text.front() == 'x';
  if (is_hex) digits.remove_prefix(1);
  if (const auto byte = is_hex ? take_number(digits, 2, 16) : take_number(digits, 3, 8)) {
    word.push_back(*byte);
    text = digits;
    return;
  }
  word.append("\\").push_back(text.front());
  text.remove_prefix(1);
}

std::string take_word(std::string_view& text) {
  std::string word;
  char quote = '\0';
  while (!text.empty() && (quote != '\0' || !is_blank(text.front()))) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '\\') {
      take_escape(text, word);
    } else if (quote != '\0' && c == quote) {
      quote = '\0';
    } else if (quote == '\0' && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == '\0') {
      throw std::invalid_argument(kZero);
    } else {
      word.push_back(c);
    }
  }
  if (quote != '\0') throw std::invalid_argument("a quote is not closed");
  return word;
}

}  // namespace

std::vector<std::string> split_command(std::string_view command) {
  std::vector<std::string> words;
  for (;;) {
    while (!command.empty() && is_blank(command.front())) command.remove_prefix(1);
    if (command.empty()) break;
    words.push_back(take_word(command));
  }
  if (words.empty() || words.front().empty()) throw std::invalid_argument("it names no program");
  return words;
}

}  // namespace pool_server
