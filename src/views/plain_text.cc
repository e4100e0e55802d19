#include "views/plain_text.h"

#include <array>
#include <cstdint>
#include <utility>

namespace pool_server::views {

namespace {

struct Character {
  std::size_t bytes = 1;
  char32_t code = 0;
  bool sound = false;
};

// The character that `text`, which is not empty, begins with. An unsound one is a byte long.
Character first(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, lead, true};
  std::size_t bytes = 0;
  if (lead >= 0xC2 && lead <= 0xDF) bytes = 2;
  if (lead >= 0xE0 && lead <= 0xEF) bytes = 3;
  if (lead >= 0xF0 && lead <= 0xF4) bytes = 4;
  if (bytes == 0 || text.size() < bytes) return {};
  char32_t code = lead & (0xFFU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3FU);
  }
  constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (code < kLeast[bytes] || code > 0x10FFFF || surrogate) return {};
  return {bytes, code, true};
}

bool is_harmless(char32_t code) {
  if (code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0xAD) return false;
  // Marks of direction, joiners, separators of lines; tags and private characters.
  if (code == 0x061C || code == 0x180E || code == 0xFEFF) return false;
  if ((code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E)) return false;
  if (code >= 0x2060 && code <= 0x206F) return false;
  return code < 0xE000 || (code >= 0xF900 && code < 0xE0000);
}

}  // namespace

std::string plain_text(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    const Character next = first(text);
    if (next.sound && is_harmless(next.code)) {
      plain += text.substr(0, next.bytes);
    } else {
      plain += '?';
    }
    text.remove_prefix(next.bytes);
  }
  return plain;
}

std::size_t length_of(std::string_view text) {
  std::size_t length = 0;
  for (const char byte : text) length += (static_cast<unsigned char>(byte) & 0xC0U) != 0x80;
  return length;
}

std::string cut(std::string_view text, std::size_t most) {
  if (length_of(text) <= most) return std::string(text);
  if (most == 0) return "";
  std::string kept;
  for (std::size_t i = 1; i < most; ++i) {
    const Character next = first(text);
    kept += text.substr(0, next.bytes);
    text.remove_prefix(next.bytes);
  }
  return kept + "…";
}

std::string to_ascii(std::string_view text) {
  constexpr std::pair<std::string_view, char> kNearest[] = {
      {"µ", 'u'}, {"–", '-'}, {"…", '~'}, {"▁", '_'}, {"▂", '.'}, {"▃", ':'},
      {"▄", '-'}, {"▅", '='}, {"▆", '+'}, {"▇", '*'}, {"█", '#'},
  };
  std::string ascii;
  while (!text.empty()) {
    const Character next = first(text);
    char shown = next.code < 0x80 && next.sound ? text.front() : '?';
    for (const auto& [wide, narrow] : kNearest) {
      if (text.starts_with(wide)) shown = narrow;
    }
    ascii += shown;
    text.remove_prefix(next.bytes);
  }
  return ascii;
}

}  // namespace pool_server::views
