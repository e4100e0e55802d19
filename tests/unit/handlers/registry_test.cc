#include "handlers/registry.h"

#include <doctest/doctest.h>

#include <string>

#include "support/stop_tokens.h"

namespace pool_server {
namespace {

TEST_CASE("registry: finds the built-in handlers by name, and no others") {
  const auto answer = [](std::string_view name, std::string_view request) {
    std::string reply;
    find_handler(name)()->handle(request, KeepGoing(), reply);
    return reply;
  };
  CHECK(answer("digest", "echo x").size() == 64);
  CHECK(answer("drill", "echo x") == "x");
  for (const char* name : {"", "Digest", "dig", "digest ", "digest, drill"}) {
    CHECK_FALSE(find_handler(name));
  }
  CHECK(handler_names() == "digest, drill");
}

TEST_CASE("registry: every worker gets a handler of its own") {
  for (const char* name : {"digest", "drill"}) {
    const HandlerFactory make = find_handler(name);
    REQUIRE(make);
    CHECK(make() != make());
  }
}

}  // namespace
}  // namespace pool_server
