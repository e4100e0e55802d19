#include "handlers/drill.h"

#include <doctest/doctest.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include "support/stop_tokens.h"

namespace pool_server {
namespace {

using Answer = std::pair<Outcome, std::string>;

Answer drill(std::string_view request, const StopToken& stop = KeepGoing()) {
  std::string reply;
  const Outcome outcome = make_drill_handler()->handle(request, stop, reply);
  return {outcome, reply};
}

Answer ok(std::string text) {
  return {Outcome::kOk, std::move(text)};
}
Answer error(std::string text) {
  return {Outcome::kError, std::move(text)};
}

TEST_CASE("drill: echo") {
  CHECK(drill("echo some text") == ok("some text"));
  CHECK(drill("echo  two") == ok(" two"));
  CHECK(drill("echo ") == ok(""));
  CHECK(drill("echo") == ok(""));
}

TEST_CASE("drill: sleep, spin and hang take the time they are told") {
  for (const auto& verb_and_past :
       {std::pair{"sleep", "slept"}, std::pair{"spin", "spun"}, std::pair{"hang", "hung"}}) {
    const std::string verb = verb_and_past.first;
    const std::string past = verb_and_past.second;
    CAPTURE(verb);
    const auto begin = std::chrono::steady_clock::now();
    CHECK(drill(verb + " 5") == ok(past + " 5 ms"));
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(5));
    CHECK(drill(verb + " 0") == ok(past + " 0 ms"));
  }
}

TEST_CASE("B3: sleep and spin end early when their stop token is set") {
  for (const char* request : {"sleep 3600000", "spin 3600000"}) {
    CHECK(drill(request, StopSoon()).first == Outcome::kError);
  }
}

TEST_CASE("drill: hang does not look at its stop token") {
  const StopSoon stop;
  CHECK(drill("hang 20", stop) == ok("hung 20 ms"));
  CHECK_FALSE(stop.stop_requested());  // nobody has asked before
}

TEST_CASE("drill: failures") {
  CHECK(drill("fail") == error("task failed"));
  CHECK(drill("bad") == error("invalid input"));
  CHECK_THROWS_AS(drill("throw"), std::runtime_error);
}

TEST_CASE("drill: what it does not know is invalid") {
  for (const char* request :
       {"", "ECHO x", "sleep", "sleep x", "sleep -1", "sleep 1 2", "sleep 1x", "sleep 99999999999",
        "spin", "hang", "hang x", "fail now", "throw it", "unknown"}) {
    CAPTURE(request);
    CHECK(drill(request) == error("invalid input"));
  }
}

}  // namespace
}  // namespace pool_server
