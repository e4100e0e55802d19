#include "core/protocol.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace pool_server::protocol {

namespace {

std::string_view prefix_of(Outcome outcome) {
  return outcome == Outcome::kOk ? "result: " : "ERROR: ";
}

// Bytes of 0x80 and above are left alone: they are UTF-8, not C1 controls, to every client we know.
bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

}  // namespace

std::string line_too_long(std::size_t max_bytes) {
  return "line too long (max " + std::to_string(max_bytes) + " bytes)";
}

std::string reply_too_long(std::size_t max_bytes) {
  return "the handler's reply is too long (max " + std::to_string(max_bytes) + " bytes)";
}

std::string worker_crashed(std::string_view how) {
  return std::string("worker crashed (").append(how).append(")");
}

std::string timed_out(TimeUs timeout) {
  return "timed out after " + std::to_string(timeout / 1000) + " ms";
}

// Nearly no text has any, so eight bytes are looked at in one step.
bool has_control_bytes(std::string_view text) {
  constexpr std::uint64_t kEach = 0x0101010101010101;
  constexpr std::uint64_t kHighBits = 0x80 * kEach;
  std::uint64_t found = 0;
  for (; text.size() >= sizeof found; text.remove_prefix(sizeof found)) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, text.data(), sizeof eight);
    // The high bit of a byte gets set when it is below 0x20, or 0x7f, or stands before such a one:
    // Bit Twiddling Hacks, "Determine if a word has a byte less than n" (S. E. Anderson).
    const std::uint64_t below = (eight - 0x20 * kEach) & ~eight;
    const std::uint64_t differs = eight ^ (0x7f * kEach);
    const std::uint64_t deletes = (differs - kEach) & ~differs;
    found |= below | deletes;
  }
  return (found & kHighBits) != 0 || std::ranges::any_of(text, is_control);
}

void hide_control_bytes(std::span<char> text) {
  if (!has_control_bytes({text.data(), text.size()})) return;
  std::ranges::replace_if(text, is_control, '?');
}

void append_reply(Outcome outcome, std::string_view text, std::string& out) {
  out.append(prefix_of(outcome));
  const std::size_t start = out.size();
  out.append(text);
  hide_control_bytes(std::span(out).subspan(start));
  out.push_back('\n');
}

void make_reply(Outcome outcome, std::string& text) {
  hide_control_bytes(text);
  text.insert(0, prefix_of(outcome));
  text.push_back('\n');
}

}  // namespace pool_server::protocol
