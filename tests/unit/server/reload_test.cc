#include "server/reload.h"

#include <doctest/doctest.h>

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

}  // namespace
}  // namespace pool_server
