#include "core/config_file.h"

#include <algorithm>
#include <utility>

namespace pool_server {

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::string_view kBlanks = " \t";

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

// Not isalpha() and its like: what a name is does not depend on the locale.
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool may_follow_in_name(char c) {
  return is_letter(c) || (c >= '0' && c <= '9') || c == '-';
}

bool is_name(std::string_view text) {
  return !text.empty() && is_letter(text.front()) && std::ranges::all_of(text, may_follow_in_name);
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

// One value, plain or in quotes; or why it is none.
std::string take_value(std::string_view text, std::string& value) {
  if (text.starts_with('\'')) return "only double quotes may stand around a value";
  if (!text.starts_with('"')) {
    value = text;
    return {};
  }
  const std::size_t end = text.find('"', 1);
  if (end == std::string_view::npos) return "the closing quote is missing";
  if (end + 1 != text.size()) return "nothing may follow the closing quote";
  value = text.substr(1, end - 1);
  return {};
}

// Up to the next comma outside quotes.
std::string_view first_of_list(std::string_view list) {
  bool quoted = false;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '"') quoted = !quoted;
    if (list[i] == ',' && !quoted) return list.substr(0, i);
  }
  return list;
}

std::string take_list(std::string_view list, std::vector<std::string>& values) {
  for (;;) {
    const std::string_view item = first_of_list(list);
    std::string& value = values.emplace_back();
    if (std::string fault = take_value(trimmed(item), value); !fault.empty()) return fault;
    if (value.empty()) return "a value of the list is empty";
    if (value.find('"') != std::string::npos) return "a quote inside a value of the list";
    if (item.size() == list.size()) return {};
    list.remove_prefix(item.size() + 1);
  }
}

// Fills in the line, or tells why it cannot.
std::string take_setting(std::string_view text, ConfigLine& line) {
  if (text.starts_with('[')) return "there are no sections";
  const std::size_t equals = text.find('=');
  const std::string_view name = trimmed(text.substr(0, equals));
  if (equals == std::string_view::npos || !is_name(name)) return "expected NAME=VALUE";
  line.name = name;
  const std::string_view value = trimmed(text.substr(equals + 1));
  line.is_list = value.size() > 1 && value.starts_with('[') && value.ends_with(']');
  return line.is_list ? take_list(value.substr(1, value.size() - 2), line.values)
                      : take_value(value, line.values.emplace_back());
}

}  // namespace

ConfigReader::ConfigReader(std::string_view text) : rest_(text) {
  if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
}

std::optional<ConfigLine> ConfigReader::next() {
  while (!rest_.empty()) {
    std::string_view text = rest_.substr(0, rest_.find('\n'));
    rest_.remove_prefix(std::min(text.size() + 1, rest_.size()));
    ++number_;
    if (text.ends_with('\r')) text.remove_suffix(1);
    ConfigLine line;
    line.number = number_;
    if (std::ranges::any_of(text, is_control)) {
      line.fault = "there is a control character in it";
      return line;
    }
    text = trimmed(text);
    if (text.empty() || text.starts_with('#') || text.starts_with(';')) continue;
    if (std::string fault = take_setting(text, line); !fault.empty()) {
      line = {};
      line.number = number_;
      line.fault = std::move(fault);
    }
    return line;
  }
  return std::nullopt;
}

}  // namespace pool_server
