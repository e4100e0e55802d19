#include "core/protocol.h"

#include <algorithm>

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

bool has_control_bytes(std::string_view text) {
  return std::ranges::any_of(text, is_control);
}

void hide_control_bytes(std::span<char> text) {
  std::ranges::replace_if(text, is_control, '?');
}

void append_reply(Outcome outcome, std::string_view text, std::string& out) {
  out.append(prefix_of(outcome));
  const auto start = static_cast<std::ptrdiff_t>(out.size());
  out.append(text);
  std::replace_if(out.begin() + start, out.end(), is_control, '?');
  out.push_back('\n');
}

void make_reply(Outcome outcome, std::string& text) {
  std::replace_if(text.begin(), text.end(), is_control, '?');
  text.insert(0, prefix_of(outcome));
  text.push_back('\n');
}

}  // namespace pool_server::protocol
