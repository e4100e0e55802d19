#include "core/proxy_header.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <system_error>

namespace pool_server {

namespace {

using HeaderState = ProxyHeaderState;

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);  // of version 2
constexpr std::size_t kFixedPart = 16;                              // of version 2
constexpr std::string_view kWord = "PROXY ";                        // version 1 begins with it
constexpr std::size_t kLongestLine = 107;                           // of version 1, with its CR LF

unsigned byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

std::uint16_t number_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}

// The word up to the next blank, which is taken off as well. A second blank makes an empty word.
std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

std::optional<std::uint16_t> parse_port(std::string_view word) {
  std::uint16_t port = 0;
  const char* const end = word.data() + word.size();
  const auto [rest, error] = std::from_chars(word.data(), end, port);
  const bool padded = word.size() > 1 && word.front() == '0';
  if (error != std::errc() || rest != end || padded) return std::nullopt;
  return port;
}

std::optional<IpAddress> parse_host(std::string_view word, bool v6) {
  if (v6 != (word.find(':') != std::string_view::npos)) return std::nullopt;
  return parse_ip_address(word);
}

// Version 1, `line` without "PROXY " and CR LF.
HeaderState read_line(std::string_view line, ProxyHeader& header) {
  const bool ends_in_blank = line.ends_with(' ');
  const std::string_view protocol = next_word(line);
  if (protocol == "UNKNOWN") return HeaderState::kComplete;  // what follows it is to be ignored
  if ((protocol != "TCP4" && protocol != "TCP6") || ends_in_blank) return HeaderState::kInvalid;
  const bool v6 = protocol == "TCP6";
  const auto source = parse_host(next_word(line), v6);
  const auto destination = parse_host(next_word(line), v6);
  const auto source_port = parse_port(next_word(line));
  const auto destination_port = parse_port(next_word(line));
  if (!source || !destination || !source_port || !destination_port || !line.empty()) {
    return HeaderState::kInvalid;
  }
  header.client = source;
  header.port = *source_port;
  return HeaderState::kComplete;
}

HeaderState read_version_1(std::string_view input, ProxyHeader& header) {
  const std::string_view most = input.substr(0, kLongestLine);
  const std::size_t end = most.find('\n');
  if (end == std::string_view::npos) {
    // A CR is the last byte but one.
    const std::size_t cr = most.find('\r');
    const bool ends_wrongly = cr != std::string_view::npos && cr + 1 < most.size();
    return most.size() == kLongestLine || ends_wrongly ? HeaderState::kInvalid
                                                       : HeaderState::kIncomplete;
  }
  const std::string_view line = input.substr(0, end);
  if (line.find('\r') != end - 1) return HeaderState::kInvalid;
  header.size = end + 1;
  return read_line(line.substr(kWord.size(), line.size() - kWord.size() - 1), header);
}

HeaderState read_version_2(std::string_view input, ProxyHeader& header) {
  constexpr unsigned kLocal = 0x20;
  constexpr unsigned kProxy = 0x21;
  constexpr unsigned kMostFamily = 3;     // unspecified, IPv4, IPv6, unix
  constexpr unsigned kMostTransport = 2;  // unspecified, stream, datagram
  // How many bytes the addresses take, by family.
  constexpr std::size_t kAddresses[] = {0, 2 * 4 + 2 * 2, 2 * 16 + 2 * 2, 2 * 108};

  const std::size_t here = input.size();
  if (here > 12 && byte_at(input, 12) != kLocal && byte_at(input, 12) != kProxy) {
    return HeaderState::kInvalid;
  }
  // Of a proxy that speaks for itself nothing else is to be looked at.
  const bool for_client = here > 13 && byte_at(input, 12) == kProxy;
  const unsigned family = for_client ? byte_at(input, 13) >> 4 : 0;
  const unsigned transport = for_client ? byte_at(input, 13) & 0xf : 0;
  if (family > kMostFamily || transport > kMostTransport) return HeaderState::kInvalid;
  if (here < kFixedPart) return HeaderState::kIncomplete;

  const std::size_t size = kFixedPart + number_at(input, 14);
  const bool tells = family != 0 && transport != 0;
  if (size > kLongestProxyHeader) return HeaderState::kInvalid;
  if (tells && size < kFixedPart + kAddresses[family]) return HeaderState::kInvalid;
  if (here < size) return HeaderState::kIncomplete;
  header.size = size;
  const bool is_tcp = tells && transport == 1 && family != 3;
  if (!is_tcp) return HeaderState::kComplete;
  const std::size_t address_size = family == 1 ? 4 : 16;
  header.client = ip_address(input.substr(kFixedPart, address_size));
  header.port = number_at(input, kFixedPart + 2 * address_size);
  return HeaderState::kComplete;
}

// Does it begin as `start` does, as far as it goes?
bool begins_as(std::string_view input, std::string_view start) {
  const std::size_t size = std::min(input.size(), start.size());
  return input.substr(0, size) == start.substr(0, size);
}

}  // namespace

ProxyHeaderState read_proxy_header(std::string_view input, ProxyHeader& header) {
  header = ProxyHeader();
  if (begins_as(input, kSignature)) {
    return input.size() < kSignature.size() ? HeaderState::kIncomplete
                                            : read_version_2(input, header);
  }
  if (begins_as(input, kWord)) {
    return input.size() < kWord.size() ? HeaderState::kIncomplete : read_version_1(input, header);
  }
  return HeaderState::kInvalid;
}

}  // namespace pool_server
