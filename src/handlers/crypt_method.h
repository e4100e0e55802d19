#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace pool_server {

// A way to hash passwords, as crypt(5) describes it. Pure.
struct CryptMethod {
  std::string_view name;    // for the option; empty: for old hashes only
  std::string_view prefix;  // of its hashes
  // What a hash costs whose text after the prefix is `parameters`, in units of the method: bytes of
  // memory, or rounds. Nullopt: no crypt_gensalt(3) writes such parameters.
  std::optional<std::uint64_t> (*cost)(std::string_view parameters);
  // The most that a client may have us spend, in that unit.
  std::uint64_t limit;
};

// The best first.
std::span<const CryptMethod> crypt_methods();

// The method of a hash; null: none of ours.
const CryptMethod* crypt_method_of(std::string_view hash);

}  // namespace pool_server
