#include "views/monitor_address.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "views/plain_text.h"

namespace pool_server::views {

namespace {

// What is in a host's name or address: nothing that has a meaning in a URL.
bool is_host(std::string_view host, bool bracketed) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr std::string_view kDigits = "0123456789";
  const std::string allowed =
      std::string(kDigits) + (bracketed ? "abcdefABCDEF:." : std::string(kLetters) + ".-_");
  return !host.empty() && host.find_first_not_of(allowed) == std::string_view::npos;
}

bool is_port(std::string_view port) {
  if (port.empty() || port.size() > 5 ||
      !std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; })) {
    return false;
  }
  const int number = std::stoi(std::string(port));
  return number > 0 && number <= 65'535;
}

}  // namespace

MonitorAddress parse_monitor_address(const std::string& text) {
  if (text.find('/') != std::string::npos) {
    if (text.starts_with("http:")) {
      throw std::invalid_argument(
          "no URL is needed: HOST:PORT, [IPv6]:PORT or the path of a socket");
    }
    return {text, "localhost", text};
  }
  const std::size_t colon = text.rfind(':');
  if (colon != std::string::npos) {
    std::string_view host = std::string_view(text).substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (is_host(host, bracketed) && is_port(std::string_view(text).substr(colon + 1))) {
      return {text, text, ""};
    }
  }
  throw std::invalid_argument("\"" + plain_text(text) +
                              "\" is no address: HOST:PORT, [IPv6]:PORT or the path of a socket");
}

}  // namespace pool_server::views
