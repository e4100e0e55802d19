#include "handlers/argon2.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <set>
#include <string>

namespace pool_server {
namespace {

TEST_CASE("argon2: parameters are read in their one spelling, within the bounds of Argon2") {
  const auto rfc = parse_argon2_parameters(kArgon2Default);
  REQUIRE(rfc);
  CHECK(rfc->memory_kib == 65536);
  CHECK(rfc->passes == 3);
  CHECK(rfc->lanes == 4);
  CHECK(parse_argon2_parameters("m=8,t=1,p=1"));
  CHECK(parse_argon2_parameters("m=4294967295,t=4294967295,p=16777215"));
  for (const char* text : {"",
                           "m",
                           "m=",
                           "m=8",
                           "m=8,t=1",
                           "m=8,t=1,p=",
                           "m=8,t=1,p=1,",
                           "m=8,t=1,p=1,x=1",
                           "t=1,m=8,p=1",
                           "m=08,t=1,p=1",
                           "m=+8,t=1,p=1",
                           "m=-8,t=1,p=1",
                           "m= 8,t=1,p=1",
                           "m=8x,t=1,p=1",
                           "m=7,t=1,p=1",
                           "m=8,t=0,p=1",
                           "m=8,t=1,p=0",
                           "m=15,t=1,p=2",
                           "m=4294967295,t=1,p=16777216",
                           "m=4294967296,t=1,p=1",
                           "12"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_argon2_parameters(text));
  }
}

std::optional<HashCost> argon2_cost_of(std::string_view parameters) {
  return argon2_cost("v=19$" + std::string(parameters) + "$c29tZXNhbHQ$x", 8);
}

TEST_CASE("argon2: cost is reckoned from memory, passes and lanes, however large they are") {
  CHECK(argon2_cost_of(kArgon2Default).value().memory == 64 << 20);
  CHECK(argon2_cost_of(kArgon2Default).value().within(kMostHashCost));
  CHECK(argon2_cost_of("m=19456,t=2,p=1").value().within(kMostHashCost));
  CHECK_FALSE(argon2_cost_of("m=131073,t=1,p=1").value().within(kMostHashCost));
  CHECK_FALSE(argon2_cost_of("m=8,t=1000000,p=1").value().within(kMostHashCost));
  CHECK_FALSE(argon2_cost_of("m=131072,t=4,p=1").value().within(kMostHashCost));
  CHECK_FALSE(argon2_cost_of("m=4294967295,t=4294967295,p=16777215").value().within(kMostHashCost));
  CHECK(argon2_cost_of("m=1024,t=9,p=128").value().seconds >
        argon2_cost_of("m=1024,t=9,p=1").value().seconds);
  for (const char* parameters :
       {"", "v=19", "v=19$", "v=16$m=8,t=1,p=1$c29tZXNhbHQ", "m=8,t=1,p=1$c29tZXNhbHQ",
        "v=19$m=8,t=1$c29tZXNhbHQ", "v=19$m=8,t=1,p=1,keyid=a$c29tZXNhbHQ"}) {
    CAPTURE(parameters);
    CHECK_FALSE(argon2_cost(parameters, 8));
  }
}

#if POOL_SERVER_ARGON2

// From src/test.c of the reference implementation, but for the one of argon2d.
TEST_CASE("argon2: hashes are those of the reference implementation") {
  for (const std::string& known : std::initializer_list<std::string>{
           "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
           "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
           "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
           "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
           "$argon2i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E",
           "$argon2d$v=19$m=256,t=2,p=1$c29tZXNhbHQ$JcTui6RIBUtJ78gE5Hi52CO+H5vS6Z9R1uxAB6OhUB8"}) {
    CAPTURE(known);
    CHECK(argon2_crypt("password", known) == known);
    CHECK(argon2_crypt("passwort", known) != known);
    CHECK(argon2_crypt("passwort", known).size() == known.size());
    const std::string setting = known.substr(0, known.rfind('$'));
    CHECK(argon2_crypt("password", setting) == known);
  }
}

TEST_CASE("argon2: a tag is made as long as the one it is compared with") {
  const std::string setting = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ";
  CHECK(argon2_crypt("x", setting + "$AAAAAA").size() == setting.size() + 1 + 6);
  CHECK(argon2_crypt("x", setting + "$" + std::string(86, 'A')).size() == setting.size() + 1 + 86);
}

TEST_CASE("argon2: what is malformed is told, not computed") {
  const std::string known = argon2_crypt("x", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ");
  REQUIRE(known.starts_with("$argon2id$"));
  for (const std::string& setting :
       {std::string(), std::string("$"), std::string("argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ"),
        std::string("$argon2$v=19$m=8,t=1,p=1$c29tZXNhbHQ"),
        std::string("$argon2id$m=8,t=1,p=1$c29tZXNhbHQ"),
        std::string("$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ"),
        std::string("$argon2id$v=19$m=8,t=1,p=1"), std::string("$argon2id$v=19$m=8,t=1,p=1$"),
        std::string("$argon2id$v=19$m=8,t=1,p=1$c29tZXN"),
        std::string("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHR"),    // bits left over
        std::string("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQA1"),  // a length that no bytes have
        std::string("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ="),
        std::string("$argon2id$v=19$m=8,t=1,p=1$c29t.XNhbHQ"),
        std::string("$argon2id$v=19$m=7,t=1,p=1$c29tZXNhbHQ"), known + "$", known + "!",
        known + "$x", known.substr(0, known.size() - 39)}) {
    CAPTURE(setting);
    CHECK(argon2_crypt("x", setting) == "*0");
  }
}

TEST_CASE("argon2: no two settings have the same salt") {
  std::set<std::string> settings;
  for (int i = 0; i < 1000; ++i)
    settings.insert(argon2_setting({.memory_kib = 8, .passes = 1, .lanes = 1}));
  CHECK(settings.size() == 1000);
  CHECK(settings.begin()->size() == std::string("$argon2id$v=19$m=8,t=1,p=1$").size() + 22);
}

#endif

}  // namespace
}  // namespace pool_server
