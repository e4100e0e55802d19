#include "views/dashboard.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "views/plain_text.h"

namespace pool_server::views {
namespace {

View busy() {
  View view;
  view.address = "localhost:9101";
  view.now = 1'700'007'300;
  ServerState state;
  state.version = "0.1.0";
  state.handler = "digest";
  state.state = "serving";
  state.ready = true;
  state.pid = 123;
  state.now = view.now;
  state.started = view.now - 7300;
  state.queue_depth = 512;
  state.queue_capacity = 1024;
  state.workers = {{"worker-0", "idle", {}, {}, {}},
                   {"worker-1", "running", 7, 3, 0.331},
                   {"worker-2", "running", 8, 4, 5.0},
                   {"worker-3", "stuck", 12, 99, 610.0},
                   {"worker-4", "crashed", {}, {}, {}}};
  state.workers_min = 1;
  state.workers_max = 5;
  state.connections = 3;
  state.connection_limit = 4096;
  state.clients = {{"127.0.0.1:1", 3, 10, 9, 1.5},
                   {"127.0.0.1:2", 4, 30, 1, 0.5},
                   {"127.0.0.1:3", 5, 20, 5, 2.5}};
  state.wait = {0.00034, 0.012, 0.21};
  state.log = {{1'700'000'000, "warning", "task-timeout", "the older", 1},
               {1'700'000'001, "error", "failed", "the newer", 3}};
  view.state = state;
  HistoryRow row;
  row.time = view.now;
  row.step = 2;
  row.ok = 200;
  row.shed = 600;
  view.history.merge({row}, view.now);
  return view;
}

std::string text_of(const View& view, Size size) {
  std::string text;
  for (const Line& line : render(view, size)) text += line.text() + '\n';
  return text;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Where it is, of all that is.
std::size_t place(const std::string& text, const std::string& part) {
  const std::size_t found = text.find(part);
  REQUIRE(found != std::string::npos);
  return found;
}

TEST_CASE("dashboard: all of it where there is room") {
  ::setenv("TZ", "UTC", 1);
  const std::string text = text_of(busy(), {100, kAnyHeight});
  for (const char* part :
       {"pool-server digest  serving", "0.1.0, process 123, up 2 h 1 min",
        "requests/s   ok 100   error 0   time-out 0   shed 300   crashed 0", "at most 400",
        "wait            340 µs     12 ms    210 ms    queue 512 of 1,024 [#####     ]",
        "run                  –         –         –    connections 3 of 4,096",
        "WORKERS      2 running of 5, 1 stuck, 1 crashed; from 1 to 5",
        "worker-3 stuck 10 min 10 s task 12 conn 99", "worker-1 running 331 ms task 7 conn 3",
        "worker-0 idle",
        "127.0.0.1:3                            5            20           5        2.5 s",
        "22:13:21 error the newer (3 times)", "22:13:20 warning the older"}) {
    CAPTURE(part);
    CHECK(has(text, part));
  }
  CHECK_FALSE(has(text, "quit"));
  CHECK_FALSE(has(text, "not shown"));
  // Who is in trouble, then who is at it for long; the newest line of the log.
  CHECK(place(text, "worker-4") < place(text, "worker-3"));
  CHECK(place(text, "worker-3") < place(text, "worker-2"));
  CHECK(place(text, "worker-2") < place(text, "worker-0"));
  CHECK(place(text, "worker-0") < place(text, "worker-1"));
  CHECK(place(text, "the newer") < place(text, "the older"));
}

TEST_CASE("dashboard: never more than the size, down to none, and the keys below") {
  View view = busy();
  for (int i = 0; i < 300; ++i)
    view.state->workers.push_back({"worker-" + std::to_string(1000 + i), "idle", {}, {}, {}});
  for (int i = 0; i < 50; ++i)
    view.state->log.push_back({1, "warning", "x", std::string(300, 'x'), 1});
  view.state->not_ready_because = std::string(200, 'y');
  view.state->ready = false;
  for (const std::size_t width : {1U, 2U, 39U, 40U, 80U, 200U}) {
    for (const std::size_t height : {1U, 2U, 5U, 10U, 11U, 24U, 60U}) {
      CAPTURE(width);
      CAPTURE(height);
      const std::vector<Line> lines = render(view, {width, height});
      CHECK(lines.size() == height);
      for (const Line& line : lines) {
        CHECK(line.length() <= width);
        CHECK(length_of(line.text()) <= width);
      }
      if (width >= 80) CHECK(has(lines.back().text(), "q quit"));
    }
  }
  const std::string text = text_of(view, {80, 24});
  for (const char* part : {"WORKERS", "not shown", "CLIENT", "127.0.0.1:3", "warning"})
    CHECK(has(text, part));
}

TEST_CASE("dashboard: clients in the order that is asked for") {
  View view = busy();
  const auto first = [&] {
    const std::string text = text_of(view, {80, 24});
    return text.substr(place(text, "CLIENT"), 200);
  };
  CHECK(place(first(), "127.0.0.1:3") < place(first(), "127.0.0.1:1"));
  view.sort = SortBy::kRequests;
  CHECK(place(first(), "127.0.0.1:2") < place(first(), "127.0.0.1:3"));
  view.sort = SortBy::kInFlight;
  CHECK(place(first(), "127.0.0.1:1") < place(first(), "127.0.0.1:3"));
}

TEST_CASE("dashboard: says that the server cannot be reached, and what was true before") {
  View view = busy();
  view.fault = "no connection";
  view.lost_for = 12;
  std::string text = text_of(view, {80, 24});
  CHECK(has(text, "Cannot reach localhost:9101 for 12 s: no connection. Trying again."));
  CHECK(has(text, "worker-3"));
  view.state.reset();
  text = text_of(view, {80, 24});
  CHECK(has(text, "Cannot reach"));
  CHECK(has(text, "q quit"));
  CHECK_FALSE(has(text, "worker"));
}

TEST_CASE("dashboard: a server that is not ready says why") {
  View view = busy();
  view.state->ready = false;
  view.state->not_ready_because = "the queue is full";
  CHECK(has(text_of(view, {80, 24}), "\nnot ready: the queue is full\n"));
  view.state->state = "handing-over";
  CHECK(has(text_of(view, {80, 24}), "digest  handing over "));
}

TEST_CASE(
    "dashboard: the last minute as bars, the newest at the right, a gap where nothing is known") {
  View view = busy();
  std::vector<HistoryRow> rows;
  for (const double ago : {0.0, 2.0, 10.0, 58.0}) {
    HistoryRow row;
    row.time = view.now - ago;
    row.step = 2;
    row.ok = ago == 2.0 ? 800 : 100;
    rows.push_back(row);
  }
  view.history.merge(rows, view.now);
  const std::string text = text_of(view, {80, 24});
  CHECK(has(text, "last minute  ▁                       ▁   █▁   at most 400"));
}

}  // namespace
}  // namespace pool_server::views
