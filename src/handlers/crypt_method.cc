#include "handlers/crypt_method.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace pool_server {

namespace {

constexpr std::uint64_t kMostMemory = std::uint64_t{128} << 20;      // bytes, about 0.3 s
constexpr std::uint64_t kMostBcryptRounds = std::uint64_t{1} << 14;  // about 1 s
constexpr std::uint64_t kMostShaRounds = 1'000'000;                  // about 0.5 s

// The digits of crypt(5), a character for 6 bits.
std::optional<std::uint64_t> digit(char c) {
  constexpr std::string_view kDigits =
      "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const std::size_t value = kDigits.find(c);
  if (value == std::string_view::npos) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> decimal(std::string_view text) {
  std::uint64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// The memory of N blocks of 128 r bytes.
std::optional<std::uint64_t> memory(std::uint64_t log2_n, std::uint64_t r) {
  if (log2_n > 40 || r == 0 || r > 1024) return std::nullopt;
  return (128 * r) << log2_n;
}

// "jNr$": flavour j, then log2 N and r, each less one. Others have more parameters, or longer ones.
std::optional<std::uint64_t> yescrypt_cost(std::string_view parameters) {
  if (parameters.size() < 4 || parameters[0] != 'j' || parameters[3] != '$') return std::nullopt;
  constexpr std::uint64_t kLargestSingleDigit = 47;  // above it, a number goes on
  const auto n = digit(parameters[1]);
  const auto r = digit(parameters[2]);
  if (!n || !r || *n > kLargestSingleDigit || *r > kLargestSingleDigit) return std::nullopt;
  return memory(*n + 1, *r + 1);
}

// log2 N in one digit, r and p in five each, the lowest first.
std::optional<std::uint64_t> scrypt_cost(std::string_view parameters) {
  constexpr std::size_t kDigits = 5;
  if (parameters.size() < 1 + 2 * kDigits) return std::nullopt;
  const auto log2_n = digit(parameters[0]);
  std::uint64_t r_and_p = 0;
  for (std::size_t i = 0; i < 2 * kDigits; ++i) {
    const auto value = digit(parameters[1 + i]);
    if (!value) return std::nullopt;
    r_and_p |= *value << (6 * i);
  }
  const std::uint64_t r = r_and_p & 0x3fffffff;
  const std::uint64_t p = r_and_p >> 30;
  if (!log2_n || p != 1) return std::nullopt;
  return memory(*log2_n, r);
}

std::optional<std::uint64_t> bcrypt_cost(std::string_view parameters) {
  if (parameters.size() < 3 || parameters[2] != '$') return std::nullopt;
  const auto log2_rounds = decimal(parameters.substr(0, 2));
  if (!log2_rounds || *log2_rounds > 31) return std::nullopt;
  return std::uint64_t{1} << *log2_rounds;
}

std::optional<std::uint64_t> sha_cost(std::string_view parameters) {
  constexpr std::string_view kRounds = "rounds=";
  if (!parameters.starts_with(kRounds)) return 5'000;  // the default
  parameters.remove_prefix(kRounds.size());
  return decimal(parameters.substr(0, parameters.find('$')));
}

std::optional<std::uint64_t> md5_cost(std::string_view) {
  return 1'000;  // always
}

constexpr std::array kMethods = {
    CryptMethod{"yescrypt", "$y$", yescrypt_cost, kMostMemory},
    CryptMethod{"gost-yescrypt", "$gy$", yescrypt_cost, kMostMemory},
    CryptMethod{"scrypt", "$7$", scrypt_cost, kMostMemory},
    CryptMethod{"bcrypt", "$2b$", bcrypt_cost, kMostBcryptRounds},
    CryptMethod{"", "$2a$", bcrypt_cost, kMostBcryptRounds},
    CryptMethod{"", "$2y$", bcrypt_cost, kMostBcryptRounds},
    CryptMethod{"sha512crypt", "$6$", sha_cost, kMostShaRounds},
    CryptMethod{"sha256crypt", "$5$", sha_cost, kMostShaRounds},
    CryptMethod{"", "$1$", md5_cost, kMostShaRounds},
};

}  // namespace

std::span<const CryptMethod> crypt_methods() {
  return kMethods;
}

const CryptMethod* crypt_method_of(std::string_view hash) {
  const auto* found = std::ranges::find_if(
      kMethods, [hash](const CryptMethod& method) { return hash.starts_with(method.prefix); });
  return found == kMethods.end() ? nullptr : found;
}

}  // namespace pool_server
