#include "core/read_gate.h"

#include <doctest/doctest.h>

namespace pool_server {
namespace {

TEST_CASE("read gate: what lets a request in, and what lets bytes in") {
  const ConnectionLimits limits{.max_unanswered = 3, .max_bytes_owed = 100};
  struct Row {
    const char* what;
    ConnectionLoad load;
    bool admit;
    bool read;
  };
  const Row rows[] = {
      {"idle", {}, true, true},
      {"just below both limits", {.unanswered = 2, .bytes_owed = 99}, true, true},
      {"as many unanswered as allowed", {.unanswered = 3}, false, false},
      {"as many bytes as allowed", {.bytes_owed = 100}, false, false},
      {"far above", {.unanswered = 9, .bytes_owed = 900}, false, false},
      {"end of input: what was read is admitted still", {.end_of_input = true}, true, false},
      {"its next request waits for the queue", {.waiting_for_queue = true}, true, false},
      {"the server is stopping", {.draining = true}, true, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    CHECK(may_admit(row.load, limits) == row.admit);
    CHECK(may_read(row.load, limits) == row.read);
  }
}

}  // namespace
}  // namespace pool_server
