#include "server/reply_router.h"

#include <doctest/doctest.h>

#include <string>

#include "support/fake_host.h"

namespace pool_server {
namespace {

// Requests are collected by the host, their tasks are made and delivered by the test.
struct RouterFixture {
  LoopDriver driver;
  FakeHost host{driver};
  Counters counters;
  RunRecycler recycler;
  int rendered = 0;
  ReplyRouter router{host.table, counters, recycler, [this] {
                       ++rendered;
                       return "stats: completed=" + std::to_string(counters.completed) +
                              " errors=" + std::to_string(counters.errors);
                     }};
  std::pair<ConnectionId, Client> guest = host.connect();
  Client& client = guest.second;

  Connection& connection() { return *host.table.find(guest.first); }
  void ask(const std::string& lines, std::size_t count) {
    client.send(lines);
    REQUIRE(driver.run_until([&] { return host.requests.size() == count; }));
  }
  RunPtr ended(std::size_t request, Outcome outcome = Outcome::kOk) {
    RunPtr run = recycler.take();
    run->connection = host.requests[request].connection;
    run->sequence = host.requests[request].sequence;
    run->charge = host.requests[request].text.size();
    run->accepted_at = 100;
    run->begun_at = 103;
    add(*run, request, outcome);
    return run;
  }
  // The next of its connection, in the same run.
  void add(Run& run, std::size_t request, Outcome outcome) {
    run.add(host.requests[request].text);
    run.tasks.back().outcome = outcome;
    run.tasks.back().took = 7;
    protocol::append_reply(outcome, host.requests[request].text, run.replies);
  }
  Worker::Running overdue(std::size_t request) {
    Worker::Running task;
    task.connection = host.requests[request].connection;
    task.sequence = host.requests[request].sequence;
    task.charge = host.requests[request].text.size();
    return task;
  }
  std::string heard() {
    driver.run_rounds(2);
    client.listen();
    return client.heard();
  }
};

TEST_CASE_FIXTURE(RouterFixture,
                  "R5: results and refusals reach the client in the order it asked") {
  ask("a\nb\nc\n", 3);
  router.answer_error(connection(), "refused");  // of a fourth request
  router.deliver(ended(2));
  router.deliver(ended(1, Outcome::kError));
  CHECK(heard().empty());
  CHECK(counters.errors == 0);  // counts what the client has been told
  router.deliver(ended(0));
  CHECK(heard() == "result: a\nERROR: b\nresult: c\nERROR: refused\n");
  CHECK(counters.completed == 3);
  CHECK(counters.errors == 2);
  CHECK(counters.wait.count() == 3);
  CHECK(counters.wait.percentile(50) == 3);
  CHECK(counters.run.percentile(50) == 7);
  CHECK(connection().writer().bytes_owed() == 0);
}

TEST_CASE_FIXTURE(RouterFixture, "R5: a run is delivered whole, and each of its tasks is counted") {
  ask("a\nb\nc\n", 3);
  RunPtr run = ended(0);
  add(*run, 1, Outcome::kError);
  add(*run, 2, Outcome::kError);
  run->tasks[1].took = 50;
  run->tasks[2].crashed = true;
  run->charge = 3;
  router.deliver(std::move(run));
  CHECK(heard() == "result: a\nERROR: b\nERROR: c\n");
  CHECK(counters.completed == 3);
  CHECK(counters.errors == 2);
  CHECK(counters.task_errors == 1);
  CHECK(counters.task_crashes == 1);
  CHECK(counters.run.count() == 3);
  CHECK(counters.run.sum() == 7 + 50 + 7);
  CHECK(counters.wait.count() == 3);
  CHECK(counters.wait.sum() == 3 + 10 + 60);  // the second waits for the first as well
  CHECK(connection().had_work_for == 64);
  CHECK(connection().writer().bytes_owed() == 0);
  CHECK(connection().writer().unanswered() == 0);
}

TEST_CASE_FIXTURE(RouterFixture,
                  "a run that was shed, or whose client has gone, counts as its tasks") {
  ask("a\nb\nc\nd\n", 4);
  const auto two = [&](std::size_t first) {
    RunPtr run = recycler.take();
    run->connection = host.requests[first].connection;
    run->sequence = host.requests[first].sequence;
    run->charge = 2;
    for (std::size_t i = 0; i < 2; ++i) run->add(host.requests[first + i].text);
    return run;
  };
  RunPtr shed = two(0);
  shed->shed = Run::Shed::kWaitedTooLong;
  router.deliver(std::move(shed));
  CHECK(heard() == "ERROR: waited too long\nERROR: waited too long\n");
  CHECK(counters.shed_timeout == 2);
  CHECK(counters.errors == 2);
  RunPtr late = two(2);
  connection().close(/*broken=*/true);
  router.deliver(std::move(late));
  CHECK(counters.dropped == 2);
}

TEST_CASE_FIXTURE(RouterFixture, "B4: STATS counts all that was answered before it") {
  ask("a\nb\n", 2);
  router.answer_stats(connection());
  router.deliver(ended(1, Outcome::kError));
  router.deliver(ended(0));
  CHECK(heard() == "result: a\nERROR: b\n");
  CHECK(router.owes_stats());
  router.tell_stats();
  CHECK_FALSE(router.owes_stats());
  CHECK(heard() == "result: a\nERROR: b\nstats: completed=2 errors=1\n");
}

TEST_CASE_FIXTURE(RouterFixture, "B4: STATS is rendered once a round, however many ask") {
  // Fails when each STATS of a pipeline, or of each connection, is rendered for itself.
  auto [other_id, other] = host.connect();
  for (int i = 0; i < 100; ++i) {
    router.answer_stats(connection());
    router.answer_stats(*host.table.find(other_id));
  }
  CHECK(rendered == 0);
  router.tell_stats();
  CHECK(rendered == 1);
  CHECK_FALSE(router.owes_stats());
  CHECK(connection().writer().unanswered() == 0);
  CHECK(host.table.find(other_id)->writer().unanswered() == 0);
}

TEST_CASE_FIXTURE(RouterFixture, "B4: STATS behind a further error is told with the next round's") {
  // Fails when a STATS is answered by a text from before an error that its client was told first.
  router.answer_stats(connection());
  router.answer_error(connection(), "no");
  router.answer_stats(connection());
  router.answer_stats(connection());
  router.tell_stats();
  CHECK(router.owes_stats());
  router.tell_stats();
  CHECK_FALSE(router.owes_stats());
  CHECK(rendered == 2);
  const std::string before = "stats: completed=0 errors=0\n";
  const std::string after = "stats: completed=0 errors=1\n";
  CHECK(heard() == before + "ERROR: no\n" + after + after);
}

TEST_CASE_FIXTURE(RouterFixture,
                  "B3: an overdue task is answered once, its late result is dropped") {
  ask("a\nb\n", 2);
  router.answer_overdue(overdue(0), "timed out");
  CHECK(heard() == "ERROR: timed out\n");
  CHECK(counters.completed == 1);
  CHECK(counters.timeouts == 1);
  RunPtr late = ended(0);
  late->answered = true;
  router.deliver(std::move(late));
  router.deliver(ended(1));
  CHECK(heard() == "ERROR: timed out\nresult: b\n");
  CHECK(counters.completed == 2);
  CHECK(counters.dropped == 1);
  CHECK(counters.errors == 1);
  CHECK(connection().writer().bytes_owed() == 0);
}

TEST_CASE_FIXTURE(RouterFixture,
                  "a result for a client that has gone is dropped, and never given to the next") {
  ask("a\n", 1);
  RunPtr late = ended(0);
  connection().close(/*broken=*/true);
  host.table.reap();
  auto [id, next] = host.connect();
  REQUIRE(id.slot == guest.first.slot);
  router.deliver(std::move(late));
  router.answer_overdue(overdue(0), "timed out");
  driver.run_rounds(2);
  next.listen();
  CHECK(next.heard().empty());
  CHECK(counters.dropped == 1);
}

TEST_CASE_FIXTURE(RouterFixture, "a task that was shed is answered, and not counted as done") {
  ask("a\nb\n", 2);
  RunPtr task = ended(0);
  task->replies.clear();
  task->shed = Run::Shed::kWaitedTooLong;
  router.deliver(std::move(task));
  task = ended(1);
  task->replies.clear();
  task->shed = Run::Shed::kStandingWait;
  router.deliver(std::move(task));
  CHECK(heard() == "ERROR: waited too long\nERROR: waited too long\n");
  CHECK(counters.shed_timeout == 1);
  CHECK(counters.shed_target == 1);
  CHECK(counters.completed == 0);
  CHECK(counters.errors == 2);
  CHECK(counters.run.count() == 0);
}

TEST_CASE_FIXTURE(RouterFixture, "what waits for its turn is held, a STATS and an error, too") {
  ask("a\n", 1);
  const std::size_t before = connection().writer().bytes_owed();
  for (int i = 0; i < 10; ++i) {
    router.answer_stats(connection());
    router.answer_error(connection(), "no");
  }
  CHECK(connection().writer().bytes_owed() >= before + 10 * (1024 + 256));
  router.deliver(ended(0));
  for (int i = 0; i < 20; ++i) router.tell_stats();
  CHECK(heard().size() > 300);
  CHECK(connection().writer().bytes_owed() == 0);
}

}  // namespace
}  // namespace pool_server
