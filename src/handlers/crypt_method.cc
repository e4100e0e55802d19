#include "handlers/crypt_method.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "handlers/argon2.h"

namespace pool_server {

namespace {

// What a core takes, in nanoseconds, rounded up from measurements on a slow machine (2026-11-26,
// the libraries of Debian 12); see "Costs" in pool-server(8). A method that is not named here
// hashes the password once, or reads 72 bytes of it, so that its length does not matter.
constexpr double kNsPerScryptByte = 7;  // of memory; yescrypt takes 5
constexpr double kNsPerBcryptRound = 60'000;

// What md5crypt and the SHA ones hash in a round: the password once or twice, the salt in two
// rounds of three, and the digest of the round before.
struct RoundHash {
  std::size_t block;   // bytes that the hash function takes at a time
  std::size_t ending;  // that it adds at the least
  std::size_t digest;
  std::size_t longest_salt;
  double ns_per_block;
};
constexpr RoundHash kMd5{64, 9, 16, 8, 100};
constexpr RoundHash kSha256{64, 9, 32, 16, 200};
constexpr RoundHash kSha512{128, 17, 64, 16, 250};

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
std::optional<HashCost> memory(std::uint64_t log2_n, std::uint64_t r) {
  if (log2_n > 40 || r == 0 || r > 1024) return std::nullopt;
  const std::uint64_t bytes = (128 * r) << log2_n;
  return HashCost{static_cast<double>(bytes) * kNsPerScryptByte / 1e9, bytes};
}

// "jNr$": flavour j, then log2 N and r, each less one. Others have more parameters, or longer ones.
std::optional<HashCost> yescrypt_cost(std::string_view parameters, std::size_t) {
  if (parameters.size() < 4 || parameters[0] != 'j' || parameters[3] != '$') return std::nullopt;
  constexpr std::uint64_t kLargestSingleDigit = 47;  // above it, a number goes on
  const auto n = digit(parameters[1]);
  const auto r = digit(parameters[2]);
  if (!n || !r || *n > kLargestSingleDigit || *r > kLargestSingleDigit) return std::nullopt;
  return memory(*n + 1, *r + 1);
}

// log2 N in one digit, r and p in five each, the lowest first.
std::optional<HashCost> scrypt_cost(std::string_view parameters, std::size_t) {
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

std::optional<HashCost> bcrypt_cost(std::string_view parameters, std::size_t) {
  if (parameters.size() < 3 || parameters[2] != '$') return std::nullopt;
  const auto log2_rounds = decimal(parameters.substr(0, 2));
  if (!log2_rounds || *log2_rounds > 31) return std::nullopt;
  return HashCost{static_cast<double>(std::uint64_t{1} << *log2_rounds) * kNsPerBcryptRound / 1e9};
}

HashCost cost_of_rounds(const RoundHash& hash, std::uint64_t rounds, std::string_view salt,
                        std::size_t password_size) {
  const std::size_t salt_size = std::min({salt.size(), salt.find('$'), hash.longest_salt});
  const std::size_t password = std::max(password_size, kLeastReckonedPassword);
  // Rounds differ in what they hash; they repeat after 21.
  std::size_t blocks = 0;
  for (int round = 0; round < 21; ++round) {
    const std::size_t bytes =
        hash.digest + password + (round % 3 != 0 ? salt_size : 0) + (round % 7 != 0 ? password : 0);
    blocks += (bytes + hash.ending + hash.block - 1) / hash.block;
  }
  return {static_cast<double>(rounds) * static_cast<double>(blocks) / 21 * hash.ns_per_block / 1e9};
}

template <const RoundHash& hash>
std::optional<HashCost> sha_cost(std::string_view parameters, std::size_t password_size) {
  constexpr std::string_view kRounds = "rounds=";
  constexpr std::uint64_t kMostRounds = 999'999'999;
  std::optional<std::uint64_t> rounds = 5'000;  // the default
  if (parameters.starts_with(kRounds)) {
    parameters.remove_prefix(kRounds.size());
    const std::string_view digits = parameters.substr(0, parameters.find('$'));
    parameters.remove_prefix(std::min(digits.size() + 1, parameters.size()));
    rounds = decimal(digits);
  }
  if (!rounds || *rounds > kMostRounds) return std::nullopt;
  return cost_of_rounds(hash, *rounds, parameters, password_size);
}

std::optional<HashCost> md5_cost(std::string_view parameters, std::size_t password_size) {
  return cost_of_rounds(kMd5, 1'000, parameters, password_size);
}

constexpr std::array kMethods = {
#if POOL_SERVER_ARGON2
    CryptMethod{"argon2id", "$argon2id$", argon2_cost, true},
#endif
    CryptMethod{"yescrypt", "$y$", yescrypt_cost},
    CryptMethod{"gost-yescrypt", "$gy$", yescrypt_cost},
    CryptMethod{"scrypt", "$7$", scrypt_cost},
    CryptMethod{"bcrypt", "$2b$", bcrypt_cost},
    CryptMethod{"", "$2a$", bcrypt_cost},
    CryptMethod{"", "$2y$", bcrypt_cost},
    CryptMethod{"sha512crypt", "$6$", sha_cost<kSha512>},
    CryptMethod{"sha256crypt", "$5$", sha_cost<kSha256>},
    CryptMethod{"", "$1$", md5_cost},
#if POOL_SERVER_ARGON2
    CryptMethod{"", "$argon2i$", argon2_cost, true},
    CryptMethod{"", "$argon2d$", argon2_cost, true},
#endif
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
