#include "server/reload.h"

#include <doctest/doctest.h>

#include <new>

#include "support/failing_new.h"

namespace pool_server {
namespace {

TEST_CASE("reload: takes over what may change, and keeps what may not") {
  Options running;
  running.listen = {"1234"};
  Options wanted;
  wanted.listen = {"5678"};
  wanted.port = 1;
  wanted.handler = "drill";
  wanted.min_workers = 1;
  wanted.max_workers = 9;
  wanted.queue_capacity = 3;
  wanted.task_timeout = 77;
  wanted.max_line = 10;
  wanted.log_level = LogLevel::kDebug;
  apply_reloadable(wanted, running);
  CHECK(running.listen == std::vector<std::string>{"1234"});
  CHECK(running.port == 9090);
  CHECK(running.handler == "digest");
  CHECK(running.min_workers == 1);
  CHECK(running.max_workers == 9);
  CHECK(running.queue_capacity == 3);
  CHECK(running.task_timeout == 77);
  CHECK(running.max_line == 10);
  CHECK(running.log_level == LogLevel::kDebug);
}

TEST_CASE("reload: memory that runs out leaves everything as it was") {
  // Fails when a reload is applied in part: some settings new and the others old.
  Options wanted;
  wanted.listen = {"/a/path/that/is/longer/than/a/string/holds/without/memory"};
  wanted.handler = "/another/path/that/is/longer/than/a/string/holds";
  wanted.handler_options = {"a=1", "b=a-value-that-needs-memory-of-its-own"};
  wanted.queue_capacity = 3;
  wanted.log_connections = true;
  bool failed = true;
  for (std::size_t successes = 0; failed; ++successes) {
    CAPTURE(successes);
    Options running;
    running.listen = {"/the/path/that/is/listened/on/by/the/running/server"};
    const Options before = running;
    bool thrown = false;
    {
      Options copy = wanted;
      const FailingNew memory(successes, FailingNew::Then::kStaysOut);
      try {
        apply_reloadable(std::move(copy), running);
      } catch (const std::bad_alloc&) {
        thrown = true;
      }
      failed = memory.failed();
    }
    CHECK(running.listen == before.listen);
    CHECK(running.handler == before.handler);
    CHECK(running.handler_options == before.handler_options);
    CHECK(running.queue_capacity == (thrown ? before.queue_capacity : wanted.queue_capacity));
    CHECK(running.log_connections == (thrown ? before.log_connections : wanted.log_connections));
  }
}

}  // namespace
}  // namespace pool_server
