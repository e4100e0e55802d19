#include "views/history.h"

#include <doctest/doctest.h>

namespace pool_server::views {
namespace {

HistoryRow row(double time, double ok) {
  HistoryRow made;
  made.time = time;
  made.step = 2;
  made.ok = ok;
  return made;
}

TEST_CASE("history: what comes twice counts once, as it was told last") {
  History history;
  history.merge({row(100, 1), row(102, 2)}, 102);
  history.merge({row(102, 4), row(104, 6)}, 104);
  REQUIRE(history.rows().size() == 3);
  CHECK(history.rows()[1].ok == 4);
  CHECK(history.last() == 104);
  CHECK(history.next() == 106);
  REQUIRE(history.rates(105));
  CHECK(history.rates(105)->ok == 3);
}

TEST_CASE("history: a minute of it is kept, and nothing of a future") {
  History history;
  history.merge({row(1000, 1), row(100, 1), row(130, 1), row(160, 1)}, 161);
  REQUIRE(history.rows().size() == 2);
  CHECK(history.rows()[0].time == 130);
  CHECK(history.last() == 160);
}

TEST_CASE("history: over a restart it goes on, and what is old is no rate") {
  History history;
  CHECK_FALSE(history.rates(100));
  CHECK(history.next() == 0);
  history.merge({row(100, 8)}, 100);
  CHECK(history.rates(104));
  CHECK_FALSE(history.rates(106));
  history.merge({}, 106);
  CHECK(history.rows().size() == 1);
  history.merge({row(110, 2)}, 110);
  CHECK(history.rows().size() == 2);
  CHECK(history.rates(110)->ok == 1);
}

}  // namespace
}  // namespace pool_server::views
