#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "handlers/crypt_method.h"

namespace pool_server {

// Argon2 (RFC 9106) in the form of crypt(3). Its hashes are those of the reference implementation:
//   $argon2id$v=19$m=KIBIBYTES,t=PASSES,p=LANES$SALT$TAG
// and a setting is one without "$TAG". Lanes are part of the result only: whatever their number,
// one thread computes them, since it is the pool that says how many run at a time.

struct Argon2Parameters {
  std::uint32_t memory_kib = 0;
  std::uint32_t passes = 0;
  std::uint32_t lanes = 0;
};

// The second of the two that RFC 9106 recommends (section 4), for where 2 GiB are too much.
inline constexpr std::string_view kArgon2Default = "m=65536,t=3,p=4";

// Nullopt: not "m=N,t=N,p=N", or out of the bounds of Argon2.
std::optional<Argon2Parameters> parse_argon2_parameters(std::string_view text);

// CryptMethod::cost of the three kinds.
std::optional<HashCost> argon2_cost(std::string_view parameters, std::size_t password_size);

// An argon2id setting with a fresh salt of 16 bytes. Throws std::runtime_error if there is no
// randomness to be had.
std::string argon2_setting(const Argon2Parameters& parameters);

// Hashes with the parameters and salt of a setting or hash, of any of the three kinds; a hash also
// says how long the tag is to be, else it has 32 bytes. "*0" if it is malformed, as crypt(3) has
// it. Of the password nothing is left in memory. Throws std::bad_alloc.
std::string argon2_crypt(std::string_view password, std::string_view setting);

}  // namespace pool_server
