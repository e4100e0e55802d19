#include "handlers/registry.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "support/stop_tokens.h"

namespace pool_server {
namespace {

Options with(std::string handler, std::vector<std::string> settings = {}) {
  Options options;
  options.handler = std::move(handler);
  options.handler_options = std::move(settings);
  return options;
}

std::string answer(const Options& options, std::string_view request) {
  std::string reply;
  load_handler(options)->make()->handle(request, KeepGoing(), reply);
  return reply;
}

// Why it cannot be loaded; empty: it can.
std::string fault_of(const Options& options) {
  try {
    load_handler(options)->make();
    return {};
  } catch (const std::runtime_error& fault) {
    return fault.what();
  }
}

TEST_CASE("registry: finds the built-in handlers by name, and no others") {
  CHECK(answer(with("digest"), "echo x").size() == 64);
  CHECK(answer(with("drill"), "echo x") == "x");
  CHECK(answer(with("password", {"cost=1"}), "hash x").starts_with("$y$j75$"));
  for (const char* name : {"", "Digest", "dig", "digest ", "digest, drill"}) {
    CHECK_FALSE(handler_exists(name));
    CHECK_FALSE(fault_of(with(name)).empty());
  }
  for (const char* name : {"digest", "drill", "password", "/any/path", "./x.so"}) {
    CHECK(handler_exists(name));
  }
  CHECK(built_in_handlers() == "digest, drill, password");
  CHECK(handler_path("x").ends_with("/lib/pool-server/handlers/x.so"));
}

TEST_CASE("registry: every worker gets a handler of its own") {
  for (const char* name : {"digest", "drill", "password"}) {
    const auto module = load_handler(with(name));
    CHECK(module->make() != module->make());
  }
}

TEST_CASE("registry: an option that the handler does not know is a fault, told by name") {
  CHECK(fault_of(with("digest", {"color=red"})) ==
        "handler 'digest' cannot start: there is no option 'color'");
  CHECK(fault_of(with("password", {"cost=1", "color=red"})) ==
        "handler 'password' cannot start: there is no option 'color'");
  const std::string no_method = fault_of(with("password", {"method=rot13"}));
  CHECK(no_method.starts_with("handler 'password' cannot start: method 'rot13' is not one of "));
  CHECK(no_method.find("yescrypt, ") != std::string::npos);
  CHECK(fault_of(with("password", {"cost=12"})) ==
        "handler 'password' cannot start: cost '12' is not possible for yescrypt");
}

TEST_CASE("registry: a file that cannot be loaded is told by its path") {
  CHECK(
      fault_of(with("/nonexistent.so")).starts_with("handler '/nonexistent.so' cannot be loaded"));
}

}  // namespace
}  // namespace pool_server
