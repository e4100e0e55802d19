// Factors numbers.
//
//   request   a decimal number from 2 to 2^64 - 1
//   reply     its prime factors in ascending order, such as "2 2 3" for 12

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdint>
#include <numeric>
#include <optional>
#include <pool-server/handler.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

using Number = std::uint64_t;
__extension__ using Wide = unsigned __int128;  // holds every product of two numbers

constexpr Number kTrialLimit = 256;

std::optional<Number> parse(std::string_view text) {
  Number value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  if (value < 2 || text.front() == '0') return std::nullopt;
  return value;
}

Number multiply(Number a, Number b, Number modulus) {
  return static_cast<Number>(Wide{a} * b % modulus);
}

Number power(Number base, Number exponent, Number modulus) {
  Number result = 1;
  for (; exponent != 0; exponent >>= 1) {
    if (exponent & 1) result = multiply(result, base, modulus);
    base = multiply(base, base, modulus);
  }
  return result;
}

// The Miller-Rabin test of an odd number above 37. No composite below 318665857834031151167461,
// which is above 2^64, passes it for all of these bases: Sorenson and Webster, "Strong Pseudoprimes
// to Twelve Prime Bases", Mathematics of Computation 86 (2017), arXiv:1509.00864.
bool is_prime(Number n) {
  constexpr std::array<Number, 12> kBases = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};
  const int twos = std::countr_zero(n - 1);
  for (const Number base : kBases) {
    Number x = power(base, (n - 1) >> twos, n);
    bool passed = x == 1 || x == n - 1;
    for (int i = 1; i < twos && !passed; ++i) {
      x = multiply(x, x, n);
      passed = x == n - 1;
    }
    if (!passed) return false;
  }
  return true;
}

// One walk of Pollard's rho with Brent's search for the cycle: R. P. Brent, "An Improved Monte
// Carlo Factorization Algorithm", BIT 20 (1980). Returns a divisor above 1 of the composite n,
// which is n itself if the walk was in vain; nothing when stopped.
std::optional<Number> find_divisor(Number n, Number constant, const pool_server::Stop& stop) {
  constexpr Number kBatch = 128;  // steps for each gcd, which is dear
  const auto step = [&](Number x) { return static_cast<Number>((Wide{x} * x + constant) % n); };
  const auto distance = [](Number a, Number b) { return a > b ? a - b : b - a; };

  Number x = 2;
  Number anchor = x;
  Number batch_start = x;
  Number product = 1;
  Number divisor = 1;
  for (Number length = 1; divisor == 1; length *= 2) {
    anchor = x;
    // Brent: of each shorter cycle, a multiple is in the second half.
    for (Number i = 0; i < length / 2; ++i) x = step(x);
    for (Number done = length / 2; done < length && divisor == 1; done += kBatch) {
      if (stop.requested()) return std::nullopt;
      batch_start = x;
      for (Number i = done; i < std::min(done + kBatch, length); ++i) {
        x = step(x);
        product = multiply(product, distance(anchor, x), n);
      }
      divisor = std::gcd(product, n);
    }
  }
  if (divisor != n) return divisor;

  // Several factors came in one batch: take it again, step by step, for the first of them.
  x = batch_start;
  do {
    x = step(x);
    divisor = std::gcd(distance(anchor, x), n);
  } while (divisor == 1);
  return divisor;
}

pool_server::Reply factor(std::string_view request, const pool_server::Stop& stop) {
  const std::optional<Number> number = parse(request);
  if (!number) return pool_server::Reply::error("invalid input");

  Number rest = *number;
  std::vector<Number> primes;
  for (Number d = 2; d < kTrialLimit; ++d) {
    for (; rest % d == 0; rest /= d) primes.push_back(d);
  }

  std::vector<Number> open;  // their product, times the primes, is the number
  if (rest > 1) open.push_back(rest);
  while (!open.empty()) {
    const Number n = open.back();
    open.pop_back();
    if (n < kTrialLimit * kTrialLimit || is_prime(n)) {
      primes.push_back(n);
      continue;
    }
    Number divisor = n;
    for (Number constant = 1; divisor == n; ++constant) {
      const std::optional<Number> found = find_divisor(n, constant, stop);
      if (!found) return pool_server::Reply::error("stopped");
      divisor = *found;
    }
    open.push_back(divisor);
    open.push_back(n / divisor);
  }

  std::sort(primes.begin(), primes.end());
  std::string text;
  for (const Number prime : primes) {
    if (!text.empty()) text += ' ';
    text += std::to_string(prime);
  }
  return text;
}

}  // namespace

POOL_SERVER_HANDLER_FUNCTION(factor)
