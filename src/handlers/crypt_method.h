#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace pool_server {

// What one hash takes of the machine.
struct HashCost {
  double seconds = 0;  // of one core: an estimate, from what crypt_method.cc says of each method
  std::uint64_t memory = 0;  // bytes

  bool within(const HashCost& limit) const {
    return seconds <= limit.seconds && memory <= limit.memory;
  }
};

// The most that a client may have us spend on a hash of its own, whatever the method.
inline constexpr HashCost kMostHashCost{.seconds = 1, .memory = std::uint64_t{128} << 20};

// A password is reckoned to have at least so many bytes. So up to this length it depends on the
// hash alone whether verifying is too costly, and who types a password cannot bring it about.
inline constexpr std::size_t kLeastReckonedPassword = 72;

// A way to hash passwords, as crypt(5) describes it, or Argon2. Pure.
struct CryptMethod {
  std::string_view name;    // for the option; empty: for old hashes only
  std::string_view prefix;  // of its hashes
  // What it costs to hash a password of so many bytes with `parameters`, the text after the prefix.
  // Nullopt: nothing writes such parameters.
  std::optional<HashCost> (*cost)(std::string_view parameters, std::size_t password_size);
  bool argon2 = false;  // else it is crypt(3)'s
};

// The best first. Those of Argon2 only where it is built in.
std::span<const CryptMethod> crypt_methods();

// The method of a hash; null: none of ours.
const CryptMethod* crypt_method_of(std::string_view hash);

}  // namespace pool_server
