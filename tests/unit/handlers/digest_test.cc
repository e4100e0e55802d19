#include "handlers/digest.h"

#include <doctest/doctest.h>

#include <string>

#include "support/stop_tokens.h"

namespace pool_server {
namespace {

TEST_CASE("digest: SHA-256 of the line's bytes, in lower-case hexadecimal") {
  struct Row {
    std::string text;
    const char* digest;
  };
  // FIPS 180-2, appendix B, and what sha256sum says.
  const Row rows[] = {
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"good data", "341b120cdb1ba34f931a32029be2c1a5e2a73bd75e44bbe1a3c820ce73edbb84"},
      {std::string(3, '\0'), "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c"},
  };
  const auto handler = make_digest_handler();
  const KeepGoing keep_going;
  for (const Row& row : rows) {  // one handler for all: nothing of the last request is left
    std::string reply;
    CHECK(handler->handle(row.text, keep_going, reply) == Outcome::kOk);
    CHECK(reply == row.digest);
  }
}

TEST_CASE("digest: 'bad' is invalid, and only that") {
  const auto handler = make_digest_handler();
  const KeepGoing keep_going;
  std::string reply;
  CHECK(handler->handle("bad", keep_going, reply) == Outcome::kError);
  CHECK(reply == "invalid input");
  for (const char* text : {"bad ", " bad", "BAD", "bads"}) {
    reply.clear();
    CHECK(handler->handle(text, keep_going, reply) == Outcome::kOk);
    CHECK(reply.size() == 64);
  }
}

}  // namespace
}  // namespace pool_server
