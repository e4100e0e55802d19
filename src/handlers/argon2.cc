#include "handlers/argon2.h"

#if POOL_SERVER_ARGON2
#include <argon2.h>
#endif
#include <openssl/rand.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <new>
#include <span>
#include <stdexcept>
#include <vector>

namespace pool_server {

namespace {

// Measured as those in crypt_method.cc are. Memory that is touched first costs several times what
// computing it does where the kernel has no huge pages to give.
constexpr double kNsPerBlock = 1'000;  // of 1 KiB
constexpr double kNsPerFreshKib = 4'000;

constexpr std::string_view kVersion = "v=19$";  // the one of the RFC
constexpr std::size_t kSaltBytes = 16, kTagBytes = 32;
constexpr std::size_t kLeastSaltBytes = 8, kLeastTagBytes = 4;  // Argon2's own

// Without padding, as the reference implementation has it.
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

using Bytes = std::vector<std::uint8_t>;

void append_base64(std::span<const std::uint8_t> bytes, std::string& text) {
  unsigned bits = 0;
  int count = 0;
  for (const std::uint8_t byte : bytes) {
    bits = bits << 8 | byte;
    for (count += 8; count >= 6; count -= 6) text += kBase64[bits >> (count - 6) & 63];
  }
  if (count > 0) text += kBase64[bits << (6 - count) & 63];
}

// Nullopt also for bits left over that are not 0: each value has one spelling.
std::optional<Bytes> from_base64(std::string_view text) {
  Bytes bytes;
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t digit = kBase64.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<unsigned>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<std::uint8_t>(bits >> count));
    }
  }
  if (count >= 6 || (bits & ((1U << count) - 1)) != 0) return std::nullopt;
  return bytes;
}

// Up to the next `end`, which goes too; all that is left where there is none.
std::string_view take(std::string_view& text, char end) {
  const std::string_view taken = text.substr(0, text.find(end));
  text.remove_prefix(std::min(taken.size() + 1, text.size()));
  return taken;
}

// "k=N" without leading zeros.
std::optional<std::uint32_t> number(std::string_view setting, char key) {
  if (setting.size() < 3 || setting[0] != key || setting[1] != '=' || setting[2] == '0') {
    return std::nullopt;
  }
  std::uint32_t value = 0;
  const char* end = setting.data() + setting.size();
  const auto [rest, error] = std::from_chars(setting.data() + 2, end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<Argon2Parameters> parse_argon2_parameters(std::string_view text) {
  constexpr std::uint32_t kMostLanes = 0xffffff;
  const auto memory = number(take(text, ','), 'm');
  const auto passes = number(take(text, ','), 't');
  const auto lanes = number(text, 'p');
  if (!memory || !passes || !lanes || *lanes > kMostLanes || *memory / 8 < *lanes) {
    return std::nullopt;
  }
  return Argon2Parameters{*memory, *passes, *lanes};
}

std::optional<HashCost> argon2_cost(std::string_view parameters, std::size_t) {
  if (!parameters.starts_with(kVersion)) return std::nullopt;
  parameters.remove_prefix(kVersion.size());
  const auto parsed = parse_argon2_parameters(take(parameters, '$'));
  if (!parsed) return std::nullopt;
  // For each segment, four to a lane, argon2i and argon2id also compute which blocks to read: two
  // blocks for each 128.
  const double kib = parsed->memory_kib;
  const double segments = 4.0 * parsed->lanes;
  const double blocks = kib + 2 * (segments + kib / 128);
  return HashCost{(kib * kNsPerFreshKib + blocks * parsed->passes * kNsPerBlock) / 1e9,
                  std::uint64_t{parsed->memory_kib} << 10};
}

std::string argon2_setting(const Argon2Parameters& parameters) {
  std::array<std::uint8_t, kSaltBytes> salt{};
  if (RAND_bytes(salt.data(), static_cast<int>(salt.size())) != 1) {
    throw std::runtime_error("no random bytes for a salt");
  }
  std::string setting = "$argon2id$";
  setting.append(kVersion);
  setting.append("m=").append(std::to_string(parameters.memory_kib));
  setting.append(",t=").append(std::to_string(parameters.passes));
  setting.append(",p=").append(std::to_string(parameters.lanes)).append("$");
  append_base64(salt, setting);
  return setting;
}

#if POOL_SERVER_ARGON2

namespace {

// In huge pages where there are some: the kernel clears 64 MiB page by page else, which takes it
// longer than Argon2. libargon2 wipes what it gives back.
int allocate(std::uint8_t** memory, std::size_t size) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  if (size < kHugePage) {
    *memory = static_cast<std::uint8_t*>(std::malloc(size));
  } else {
    const std::size_t rounded = (size + kHugePage - 1) / kHugePage * kHugePage;
    *memory = static_cast<std::uint8_t*>(std::aligned_alloc(kHugePage, rounded));
    if (*memory != nullptr) ::madvise(*memory, rounded, MADV_HUGEPAGE);  // may fail
  }
  return *memory != nullptr ? ARGON2_OK : ARGON2_MEMORY_ALLOCATION_ERROR;
}

void deallocate(std::uint8_t* memory, std::size_t) {
  std::free(memory);
}

std::optional<argon2_type> type_of(std::string_view name) {
  if (name == "argon2id") return Argon2_id;
  if (name == "argon2i") return Argon2_i;
  if (name == "argon2d") return Argon2_d;
  return std::nullopt;
}

}  // namespace

std::string argon2_crypt(std::string_view password, std::string_view setting) {
  constexpr const char* kMalformed = "*0";
  std::string_view rest = setting;
  const std::string_view nothing = take(rest, '$');
  const auto type = type_of(take(rest, '$'));
  if (!nothing.empty() || !type || !rest.starts_with(kVersion)) return kMalformed;
  rest.remove_prefix(kVersion.size());
  const auto parameters = parse_argon2_parameters(take(rest, '$'));
  const std::string_view salt_text = take(rest, '$');
  auto salt = from_base64(salt_text);
  const auto known_tag = from_base64(rest);
  if (!parameters || !salt || salt->size() < kLeastSaltBytes || !known_tag) return kMalformed;
  Bytes tag(rest.empty() ? kTagBytes : known_tag->size());
  if (tag.size() < kLeastTagBytes) return kMalformed;

  argon2_context context{};
  context.out = tag.data();
  context.outlen = static_cast<std::uint32_t>(tag.size());
  // Without ARGON2_FLAG_CLEAR_PASSWORD it is only read.
  context.pwd = reinterpret_cast<std::uint8_t*>(const_cast<char*>(password.data()));
  context.pwdlen = static_cast<std::uint32_t>(password.size());
  context.salt = salt->data();
  context.saltlen = static_cast<std::uint32_t>(salt->size());
  context.t_cost = parameters->passes;
  context.m_cost = parameters->memory_kib;
  context.lanes = parameters->lanes;
  context.threads = 1;
  context.version = ARGON2_VERSION_13;
  context.allocate_cbk = allocate;
  context.free_cbk = deallocate;
  const int error = ::argon2_ctx(&context, *type);
  if (error == ARGON2_MEMORY_ALLOCATION_ERROR) throw std::bad_alloc();
  if (error != ARGON2_OK) throw std::runtime_error(::argon2_error_message(error));

  std::string hash(setting.substr(0, setting.size() - rest.size()));
  if (!hash.ends_with('$')) hash += '$';
  append_base64(tag, hash);
  return hash;
}

#else

std::string argon2_crypt(std::string_view, std::string_view) {
  return "*0";
}

#endif

}  // namespace pool_server
