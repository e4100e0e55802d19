#include "handlers/password.h"

#include <crypt.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/protocol.h"
#include "handlers/argon2.h"
#include "handlers/crypt_method.h"

namespace pool_server {

namespace {

// A C string for crypt(3) that leaves nothing behind. Short enough for it, and never cut.
class SecretString {
 public:
  explicit SecretString(std::string_view text) { text.copy(bytes_.data(), kLongest); }
  SecretString(const SecretString&) = delete;
  SecretString& operator=(const SecretString&) = delete;
  ~SecretString() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

  const char* c_str() const { return bytes_.data(); }

  static constexpr std::size_t kLongest = CRYPT_MAX_PASSPHRASE_SIZE - 1;

 private:
  std::array<char, kLongest + 1> bytes_{};
};

// How fresh hashes are made, and what the longest password that is always taken costs then.
struct Recipe {
  const CryptMethod* method;
  unsigned long count = 0;  // of crypt_gensalt(3); 0: its default
  Argon2Parameters argon2{};
  HashCost cost{};
};

// The salt and parameters of a fresh hash; empty: the count cannot be.
std::string fresh_setting(const Recipe& recipe) {
  if (recipe.method->argon2) return argon2_setting(recipe.argon2);
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting{};
  const std::string prefix(recipe.method->prefix);
  // No random bytes are passed, so that it asks the kernel for them.
  if (crypt_gensalt_rn(prefix.c_str(), recipe.count, nullptr, 0, setting.data(), setting.size()) ==
      nullptr) {
    return {};
  }
  return setting.data();
}

// What `method` takes for a hash or setting; nullopt: it is none of its, or malformed.
std::optional<HashCost> cost_of(const CryptMethod& method, std::string_view hash,
                                std::size_t password_size) {
  if (!hash.starts_with(method.prefix)) return std::nullopt;
  return method.cost(hash.substr(method.prefix.size()), password_size);
}

class Password final : public Handler {
 public:
  explicit Password(const Recipe& recipe)
      : recipe_(recipe), scratch_(std::make_unique<crypt_data>()) {}

  Outcome handle(std::string_view request, const StopToken&, std::string& reply) override {
    const auto [verb, rest] = split(request);
    if (verb == "hash") return hash(rest, reply);
    if (verb == "verify") {
      const auto [known, password] = split(rest);
      return verify(known, password, reply);
    }
    return invalid(reply);
  }

 private:
  // At the first space; without one, the second part has no data.
  static std::pair<std::string_view, std::string_view> split(std::string_view text) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos) return {text, {}};
    return {text.substr(0, space), text.substr(space + 1)};
  }

  static Outcome invalid(std::string& reply) {
    reply = protocol::kInvalidInput;
    return Outcome::kError;
  }

  // A NUL would end it early for crypt(3), and what follows would not matter.
  static bool acceptable(std::string_view password) {
    return !password.empty() && password.size() <= SecretString::kLongest &&
           password.find('\0') == std::string_view::npos;
  }

  static Outcome too_costly(std::string& reply) {
    reply = "hash too costly";
    return Outcome::kError;
  }

  // The same for hashing and verifying, so that what was hashed here can be verified here.
  bool affordable(const CryptMethod& method, const HashCost& cost) const {
    if (&method != recipe_.method) return cost.within(kMostHashCost);
    return cost.within({std::max(kMostHashCost.seconds, recipe_.cost.seconds),
                        std::max(kMostHashCost.memory, recipe_.cost.memory)});
  }

  Outcome hash(std::string_view password, std::string& reply) {
    constexpr std::size_t kBcryptReads = 72;  // bytes; it would ignore the rest
    const CryptMethod& method = *recipe_.method;
    const bool cut = method.name == "bcrypt" && password.size() > kBcryptReads;
    if (!acceptable(password) || cut) return invalid(reply);
    const std::string setting = fresh_setting(recipe_);
    const auto cost = cost_of(method, setting, password.size());
    if (!cost || !affordable(method, *cost)) return too_costly(reply);
    reply = crypted(method, password, setting);
    // crypt(3) says by "*0" that it failed, for want of memory for one.
    if (reply.starts_with('*')) throw std::runtime_error("crypt failed");
    return Outcome::kOk;
  }

  Outcome verify(std::string_view known, std::string_view password, std::string& reply) {
    const CryptMethod* method = crypt_method_of(known);
    if (method == nullptr || known.size() >= CRYPT_OUTPUT_SIZE || !acceptable(password)) {
      return invalid(reply);
    }
    const auto cost = cost_of(*method, known, password.size());
    if (!cost) return invalid(reply);
    if (!affordable(*method, *cost)) return too_costly(reply);
    std::string computed = crypted(*method, password, std::string(known));
    // One of another length can be no hash of this method: it is malformed, not another password's.
    const bool malformed = computed.starts_with('*') || computed.size() != known.size();
    const bool match =
        !malformed && CRYPTO_memcmp(computed.data(), known.data(), known.size()) == 0;
    OPENSSL_cleanse(computed.data(), computed.size());
    if (malformed) return invalid(reply);
    reply = match ? "match" : "no-match";
    return Outcome::kOk;
  }

  std::string crypted(const CryptMethod& method, std::string_view password,
                      const std::string& setting) {
    if (method.argon2) return argon2_crypt(password, setting);
    const SecretString secret(password);
    std::string result = crypt_r(secret.c_str(), setting.c_str(), scratch_.get());
    OPENSSL_cleanse(scratch_.get(), sizeof *scratch_);
    return result;
  }

  const Recipe recipe_;
  const std::unique_ptr<crypt_data> scratch_;  // 32 KiB
};

// Whether the text is a cost of the recipe's method; for crypt(3)'s, fresh_setting() tells the
// rest.
bool set_cost(std::string_view text, Recipe& recipe) {
  if (recipe.method->argon2) {
    const auto parameters = parse_argon2_parameters(text);
    recipe.argon2 = parameters.value_or(Argon2Parameters{});
    return parameters.has_value();
  }
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, recipe.count);
  return error == std::errc() && rest == end;
}

// The best method that the cost is one of, so that a count of crypt(3) alone means what it always
// did.
std::string_view default_method(std::string_view cost) {
  const auto methods = crypt_methods();
  return std::ranges::find_if(methods,
                              [cost](const CryptMethod& method) {
                                return !method.argon2 || cost.empty() ||
                                       parse_argon2_parameters(cost);
                              })
      ->name;
}

Recipe make_recipe(const HandlerOptions& options) {
  const auto methods = crypt_methods();
  const std::string wanted = options.get("method", default_method(options.get("cost")));
  const auto method = std::ranges::find_if(methods, [&](const CryptMethod& candidate) {
    return !candidate.name.empty() && candidate.name == wanted;
  });
  if (method == methods.end()) {
    std::string names;
    for (const CryptMethod& candidate : methods) {
      if (candidate.name.empty()) continue;
      names.append(names.empty() ? "" : ", ").append(candidate.name);
    }
    throw std::invalid_argument("method '" + wanted + "' is not one of " + names);
  }
  Recipe recipe{.method = &*method};
  const std::string wish = options.get("cost", recipe.method->argon2 ? kArgon2Default : "0");
  if (set_cost(wish, recipe)) {
    const auto cost = cost_of(*method, fresh_setting(recipe), kLeastReckonedPassword);
    if (cost) {
      recipe.cost = *cost;
      return recipe;
    }
  }
  throw std::invalid_argument("cost '" + wish + "' is not possible for " + wanted);
}

class PasswordModule final : public HandlerModule {
 public:
  explicit PasswordModule(const Recipe& recipe) : recipe_(recipe) {}
  std::unique_ptr<Handler> make() override { return std::make_unique<Password>(recipe_); }

 private:
  const Recipe recipe_;
};

}  // namespace

std::size_t longest_password_reply(std::size_t) {
  return CRYPT_OUTPUT_SIZE;
}

std::unique_ptr<HandlerModule> load_password_handler(const HandlerOptions& options) {
  return std::make_unique<PasswordModule>(make_recipe(options));
}

}  // namespace pool_server
