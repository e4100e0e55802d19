#include "handlers/digest.h"

#include <openssl/evp.h>

#include <array>
#include <span>
#include <stdexcept>

#include "core/protocol.h"

namespace pool_server {

namespace {

void check(bool ok) {
  if (!ok) throw std::runtime_error("SHA-256 failed in libcrypto");
}

void append_hex(std::span<const unsigned char> bytes, std::string& to) {
  constexpr char kHex[] = "0123456789abcdef";
  std::array<char, 2 * EVP_MAX_MD_SIZE> text;
  char* out = text.data();
  for (const unsigned char byte : bytes) {
    *out++ = kHex[byte >> 4];
    *out++ = kHex[byte & 15];
  }
  to.append(text.data(), out);
}

class Digest final : public Handler {
 public:
  // Everything that looks up an algorithm happens here: EVP_DigestInit_ex2 without one only resets.
  Digest() : algorithm_(EVP_MD_fetch(nullptr, "SHA256", nullptr)), context_(EVP_MD_CTX_new()) {
    check(algorithm_ != nullptr && context_ != nullptr &&
          EVP_DigestInit_ex2(context_.get(), algorithm_.get(), nullptr) == 1);
  }

  Outcome handle(std::string_view request, const StopToken&, std::string& reply) override {
    if (request == "bad") {
      reply = protocol::kInvalidInput;
      return Outcome::kError;
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    check(EVP_DigestInit_ex2(context_.get(), nullptr, nullptr) == 1 &&
          EVP_DigestUpdate(context_.get(), request.data(), request.size()) == 1 &&
          EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1);
    append_hex({digest.data(), size}, reply);
    return Outcome::kOk;
  }

 private:
  struct Free {
    void operator()(EVP_MD* algorithm) const { EVP_MD_free(algorithm); }
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };

  std::unique_ptr<EVP_MD, Free> algorithm_;
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

}  // namespace

std::size_t longest_digest_reply(std::size_t) {
  return 64;  // hexadecimal digits of 32 bytes; the errors are shorter
}

std::unique_ptr<Handler> make_digest_handler() {
  return std::make_unique<Digest>();
}

}  // namespace pool_server
