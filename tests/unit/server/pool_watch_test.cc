#include "server/pool_watch.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/front_desk.h"

namespace pool_server {
namespace {

Options options_with(TimeUs task_timeout, unsigned max_stuck = 0) {
  Options options = one_worker();
  options.task_timeout = task_timeout;
  options.max_stuck_workers = max_stuck;
  return options;
}

std::vector<std::string> texts_of(const std::vector<RunPtr>& runs) {
  std::vector<std::string> texts;
  for (const RunPtr& run : runs) {
    run->for_each_text([&](const Task&, std::string_view text) { texts.emplace_back(text); });
  }
  return texts;
}

TEST_CASE("pool watch: there is nothing to look after while nothing is under way") {
  FrontDesk desk(options_with(0));
  CHECK(desk.watch.inspect(monotonic_now()) == kNever);
  Client client = desk.connect();
  client.send("a\n");
  CHECK(desk.hears(client, "result: a\n"));
  CHECK(desk.watch.at_work() == 0);
  CHECK(desk.watch.inspect(monotonic_now()) == kNever);
}

TEST_CASE("pool watch: what was handed out is looked after soon, and not at once") {
  FrontDesk desk(options_with(0));
  desk.inspects = false;
  Client client = desk.connect();
  client.send("wait\n");
  CHECK(desk.driver.run_until([&] { return desk.script.begun == 1; }));
  CHECK(desk.watch.at_work() == 1);
  const TimeUs now = monotonic_now();
  desk.watch.inspect_soon(now);
  const TimeUs at = desk.watch.inspect(now);
  CHECK(at > now);
  CHECK(at <= now + 1'000);
  CHECK(desk.watch.inspect(now) == at);
  CHECK(desk.watch.inspect(at) == kNever);  // it runs, and may
}

TEST_CASE("pool watch: a time-out that is set while a task runs is that task's, too") {
  FrontDesk desk(options_with(0));
  Client client = desk.connect();
  client.send("until-stopped\n");
  CHECK(desk.driver.run_until([&] { return desk.script.begun == 1; }));
  // All is settled: there is nothing to look for.
  CHECK(desk.watch.inspect(monotonic_now() + 1'000'000) == kNever);
  desk.options.task_timeout = 5'000;
  desk.watch.reconfigure();
  CHECK(desk.hears(client, "ERROR: timed out after 5 ms\n"));
}

TEST_CASE("pool watch: an overdue task is answered once, and its worker is told to stop") {
  FrontDesk desk(options_with(5'000));
  Client client = desk.connect();
  client.send("until-stopped\n");
  CHECK(desk.hears(client, "ERROR: timed out after 5 ms\n"));
  CHECK(desk.driver.run_until([&] { return desk.script.stopped == 1; }));
  CHECK(desk.driver.run_until([&] { return desk.admission.outstanding() == 0; }));
  desk.options.task_timeout = 0;
  client.send("next\n");
  CHECK(desk.hears(client, "ERROR: timed out after 5 ms\nresult: next\n"));
  CHECK(desk.counters.timeouts == 1);
  CHECK(desk.counters.dropped == 1);
  CHECK(desk.counters.quarantined == 0);
}

TEST_CASE("pool watch: an overdue task is not waited for, though it is not over") {
  FrontDesk desk(options_with(5'000, /*max_stuck=*/1));
  desk.inspects = false;
  Client client = desk.connect();
  client.send("wait\n");
  CHECK(desk.driver.run_until([&] { return desk.script.begun == 1; }));
  const TimeUs late = monotonic_now() + 6'000;
  desk.watch.inspect_soon(late);
  CHECK(desk.watch.inspect(late) > late);                   // not due yet
  CHECK(desk.watch.inspect(late + 1'000) == late + 1'000);  // as it answers
  CHECK(desk.watch.at_work() == 0);
  CHECK(desk.admission.outstanding() == 1);
  CHECK(desk.hears(client, "ERROR: timed out after 5 ms\n"));
}

TEST_CASE("pool watch: a worker that does not come back is replaced, and joined when it does") {
  FrontDesk desk(options_with(5'000, /*max_stuck=*/1));
  Client client = desk.connect();
  client.send("wait\n");
  CHECK(desk.driver.run_until([&] { return desk.pool.stuck() == 1; }));
  desk.options.task_timeout = 0;
  client.send("next\n");
  CHECK(desk.hears(client, "ERROR: timed out after 5 ms\nresult: next\n"));
  CHECK(desk.counters.quarantined == 1);
  CHECK(desk.pool.stuck() == 1);
  CHECK(desk.pool.size() == 1);
  desk.script.gate.open();
  CHECK(desk.driver.run_until([&] { return desk.pool.stuck() == 0; }));
  CHECK_FALSE(desk.watch.pool_is_stuck());
}

TEST_CASE("pool watch: a pool of which nothing more can come is told apart") {
  FrontDesk desk(options_with(5'000, /*max_stuck=*/0));
  Client client = desk.connect();
  client.send("wait\nnext\n");
  CHECK(desk.driver.run_until([&] { return desk.watch.pool_is_stuck(); }));
  CHECK(desk.counters.quarantined == 0);
}

TEST_CASE("pool watch: withdrawn work is not waited for, and comes with what is running") {
  FrontDesk desk(options_with(0));
  desk.inspects = false;
  Client client = desk.connect();
  client.send("before\n");
  CHECK(desk.hears(client, "result: before\n"));
  client.send("wait\nb\nc\n");
  CHECK(desk.driver.run_until([&] { return desk.watch.at_work() == 3 && desk.script.begun == 2; }));
  CHECK(desk.driver.run_until([&] {
    desk.watch.withdraw();
    return desk.watch.at_work() == 1;
  }));
  CHECK(desk.admission.awaited() == 3);
  std::vector<std::string> undone = texts_of(desk.watch.take_undone_work());
  std::ranges::sort(undone);  // by connection and sequence, it is put in order later
  CHECK(undone == std::vector<std::string>{"b", "c", "wait"});
  CHECK(desk.watch.take_undone_work().size() == 1);  // what was taken is not there twice
}

TEST_CASE("pool watch: what has ended by the end is delivered, and is no undone work") {
  FrontDesk desk(options_with(0));
  Client client = desk.connect();
  client.send("wait\n");
  CHECK(desk.driver.run_until([&] { return desk.script.begun == 1; }));
  desk.script.gate.open();
  CHECK(eventually([&] { return desk.script.ended == 1; }));
  CHECK(eventually([&] { return desk.watch.take_undone_work().empty(); }));
  CHECK(desk.hears(client, "result: wait\n"));
}

TEST_CASE("pool watch: work that is given up is told to stop") {
  FrontDesk desk(options_with(0));
  Client client = desk.connect();
  client.send("until-stopped\n");
  CHECK(desk.driver.run_until([&] { return desk.script.begun == 1; }));
  desk.watch.report_abandoned_work();
  CHECK(eventually([&] { return desk.script.stopped == 1; }));
}

}  // namespace
}  // namespace pool_server
