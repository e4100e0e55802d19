#include "handlers/crypt_method.h"

#include <crypt.h>
#include <doctest/doctest.h>

#include <array>
#include <string>

namespace pool_server {
namespace {

std::optional<std::uint64_t> cost_of(std::string_view hash) {
  const CryptMethod* method = crypt_method_of(hash);
  if (method == nullptr) return std::nullopt;
  return method->cost(hash.substr(method->prefix.size()));
}

TEST_CASE("crypt method: costs are read as crypt(5) writes them") {
  CHECK(cost_of("$y$j9T$abc$x") == 128 * 32 * 4096);  // 16 MiB
  CHECK(cost_of("$y$j75$abc$x") == 128 * 8 * 1024);   // 1 MiB
  CHECK(cost_of("$gy$jFT$abc$x") == 128ULL * 32 * 262144);
  CHECK(cost_of("$7$CU..../....abc$x") == 128 * 32 * 16384);
  CHECK(cost_of("$2b$05$abc") == 32);
  CHECK(cost_of("$2a$31$abc") == 1ULL << 31);
  CHECK(cost_of("$6$salt$x") == 5000);
  CHECK(cost_of("$5$rounds=777$salt$x") == 777);
  CHECK(cost_of("$1$salt$x") == 1000);
}

TEST_CASE("crypt method: what no crypt_gensalt writes has no cost") {
  for (const char* hash : {"",
                           "$",
                           "x",
                           "$y$",
                           "$y$j",
                           "$y$j9",
                           "$y$j9T",
                           "$y$k9T$a",
                           "$y$j9Ta$",
                           "$y$jzT$a",
                           "$y$j9z$a",
                           "$y$j:T$a",
                           "$7$",
                           "$7$CU....",
                           "$7$CU....0....a",
                           "$7$C!..../....a",
                           "$7$C...../....a",
                           "$2b$",
                           "$2b$5$a",
                           "$2b$xx$a",
                           "$2b$32$a",
                           "$2x$05$a",
                           "$6$rounds=$a",
                           "$6$rounds=-1$a",
                           "$6$rounds=99999999999999999999$a",
                           "$3$$a",
                           "_abc",
                           "*0",
                           "abJnggxhB/yWI"}) {
    CAPTURE(hash);
    CHECK_FALSE(cost_of(hash));
  }
}

TEST_CASE(
    "crypt method: every setting that the library makes is understood, and costs more at a "
    "higher count") {
  for (const CryptMethod& method : crypt_methods()) {
    if (method.name.empty()) continue;
    CAPTURE(method.name);
    std::uint64_t last = 0;
    for (unsigned long count = 1; count <= 31; ++count) {
      std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting{};
      const unsigned long scaled = method.name.starts_with("sha") ? count * 20'000 : count;
      if (crypt_gensalt_rn(std::string(method.prefix).c_str(), scaled, nullptr, 0, setting.data(),
                           setting.size()) == nullptr) {
        continue;
      }
      const auto cost = cost_of(setting.data());
      REQUIRE(cost);
      CHECK(*cost > last);
      last = *cost;
    }
    CHECK(last > method.limit / 2);
  }
}

}  // namespace
}  // namespace pool_server
