#include "core/agent_report.h"

#include <doctest/doctest.h>

#include <string>

namespace pool_server {
namespace {

using Phase = ServerState::Phase;

constexpr TimeUs kSecond = 1'000'000;
constexpr double kUnknown = 0;

// A server of four workers that is looked at once a second, after having been at work for it.
struct Server {
  AgentReport report{AgentReport::Memory{}};
  AgentReport::Sample sample;

  Server() {
    sample.workers = sample.able = 4;
    sample.queue_capacity = 1000;
    report.add(sample);
  }

  // `run`: µs of a request; `busy`: of its workers' time, how much is spent.
  void work(int seconds, double run, double busy = 0.8) {
    for (int i = 0; i < seconds; ++i) {
      const double spent = busy * static_cast<double>(sample.workers * kSecond);
      sample.succeeded += static_cast<std::uint64_t>(spent / run);
      look(static_cast<std::uint64_t>(spent));
    }
  }
  void look(std::uint64_t run_time = 0) {
    sample.run_time += run_time;
    sample.now += kSecond;
    report.add(sample);
  }
  void idle(int seconds) {
    for (int i = 0; i < seconds; ++i) look();
  }
  std::string said(Phase phase = Phase::kServing, std::string_view hopeless = {}) const {
    return report.line(phase, hopeless);
  }
};

TEST_CASE("agent: a server of which nothing is known, and one that is idle, can do all it could") {
  Server server;
  CHECK(server.said() == "up 100% ready\n");
  server.idle(100);
  CHECK(server.report.percent() == 100);
}

TEST_CASE("agent: a drain is said from when a stop is asked for, and while nobody is let in") {
  const Server server;
  CHECK(server.said(Phase::kDraining) == "drain\n");
  CHECK(server.said(Phase::kLameDuck) == "drain\n");
  CHECK(server.said(Phase::kHandingOver) == "up 100% ready\n");
}

TEST_CASE("agent: down is said with the reason of readiness") {
  const Server server;
  const std::string_view hopeless = why_no_progress(false, false, 4, 4);
  CHECK(server.said(Phase::kServing, hopeless) ==
        "down #no worker can progress: each is in a task that does not end\n");
  CHECK(server.said(Phase::kServing, why_no_progress(true, true, 4, 0)) ==
        "down #no worker available: no program can be kept alive\n");
  CHECK(why_no_progress(false, false, 4, 3).empty());
  CHECK(why_no_progress(false, true, 4, 4).empty());  // another is started as soon as requests wait
  CHECK(server.said(Phase::kDraining, hopeless) == "drain\n");
}

TEST_CASE("agent: a server at a third of its speed says so within some seconds, and comes back") {
  Server server;
  server.work(60, 5'000);
  CHECK(server.report.percent() == 100);
  server.work(8, 15'000);
  CHECK(server.report.percent() < 60);
  server.work(12, 15'000);
  CHECK(server.report.percent() == doctest::Approx(33).epsilon(0.15));
  server.work(20, 5'000);
  CHECK(server.report.percent() > 90);
}

TEST_CASE("agent: how much there is to do does not change what a server could do") {
  Server server;
  server.work(60, 5'000, 0.9);
  server.work(60, 5'000, 0.1);
  CHECK(server.report.percent() == 100);
}

TEST_CASE("agent: with a full rate, a server that always was slower says less") {
  Server server;
  server.sample.full = 800;
  server.work(60, 5'000);
  CHECK(server.report.percent() == 100);
  Server slower;
  slower.sample.full = 800;
  slower.work(60, 10'000);
  CHECK(slower.report.percent() == doctest::Approx(50).epsilon(0.05));
  slower.sample.full = kUnknown;
  slower.look();
  CHECK(slower.report.percent() == 100);
}

TEST_CASE("agent: a slow server that has nothing to do is taken to be at its best again") {
  Server server;
  server.work(60, 5'000);
  server.work(30, 20'000);
  REQUIRE(server.report.percent() < 40);
  server.idle(120);
  CHECK(server.report.percent() == 100);
}

TEST_CASE("agent: workers that cannot get on are missing") {
  Server server;
  server.work(60, 5'000);
  server.sample.able = 1;
  server.look();
  CHECK(server.report.percent() == 25);
  server.sample.able = 0;
  server.idle(60);
  CHECK(server.said() == "up 1% ready\n");
}

TEST_CASE("agent: who fails quickly does not look able") {
  Server server;
  server.work(60, 5'000);
  for (int i = 0; i < 40; ++i) server.look(400'000);  // errors, each of a microsecond
  CHECK(server.report.percent() < 15);
}

TEST_CASE("agent: errors among what succeeds cost the time that they take") {
  Server server;
  server.work(60, 5'000);
  for (int i = 0; i < 30; ++i) {
    server.sample.run_time += 100'000;
    server.work(1, 5'000);
  }
  CHECK(server.report.percent() > 95);
}

TEST_CASE("agent: tasks that do not end are seen while they do not") {
  Server server;
  server.work(60, 5'000);
  server.sample.running = 4;
  for (int i = 1; i <= 60; ++i) {
    server.sample.running_for = 4 * i * kSecond;
    server.look();
  }
  CHECK(server.said() == "up 1% ready\n");
  server.sample.running = 0;
  server.sample.running_for = 0;
  server.work(60, 5'000);
  CHECK(server.report.percent() > 90);
}

TEST_CASE("agent: tasks that run as long as others do are no news") {
  Server server;
  server.work(60, 500'000);
  server.sample.running = 4;
  server.sample.running_for = 4 * 400'000;
  server.work(10, 500'000);
  CHECK(server.report.percent() == 100);
}

TEST_CASE("agent: what a newcomer would wait counts, smoothed") {
  Server server;
  server.work(60, 100'000);
  server.sample.queue_depth = 4;  // 100 ms, of 200 ms that are too long
  server.work(1, 100'000);
  CHECK(server.report.percent() > 90);
  server.work(40, 100'000);
  CHECK(server.report.percent() == doctest::Approx(50).epsilon(0.05));
  server.sample.queue_depth = 400;
  server.work(60, 100'000);
  CHECK(server.report.percent() == 1);
  server.sample.queue_depth = 0;
  server.work(40, 100'000);
  CHECK(server.report.percent() > 95);
}

TEST_CASE("agent: many tasks that are short are no long wait, a full queue is one") {
  Server server;
  server.work(60, 10);
  server.sample.queue_depth = 500;
  server.work(60, 10);
  CHECK(server.report.percent() > 95);
  server.sample.queue_depth = 1000;
  server.work(60, 10);
  CHECK(server.report.percent() == 1);
}

TEST_CASE("agent: how often it is looked at changes nothing") {
  Server often;
  Server seldom;
  for (Server* server : {&often, &seldom}) server->work(60, 5'000);
  for (int i = 0; i < 5; ++i) {
    often.work(2, 15'000);
    seldom.sample.now += kSecond;
    seldom.sample.run_time += 3'200'000;
    seldom.sample.succeeded += 213;
    seldom.work(1, 15'000);
  }
  CHECK(often.report.percent() == doctest::Approx(seldom.report.percent()).epsilon(0.05));
}

TEST_CASE("agent: how often it is asked changes nothing") {
  Server server;
  server.work(60, 5'000);
  server.work(5, 15'000);
  const std::string line = server.said();
  for (int i = 0; i < 100; ++i) CHECK(server.said() == line);
}

TEST_CASE("agent: what was best is forgotten, in hours and not in minutes") {
  Server server;
  server.work(60, 5'000);
  server.work(10 * 60, 15'000);
  CHECK(server.report.percent() < 50);
  server.work(4 * 3600, 15'000);
  CHECK(server.report.percent() > 90);
}

TEST_CASE("agent: a few requests that were quick are not what others are held to") {
  Server server;
  server.sample.succeeded += 5;
  server.look(50);
  server.work(60, 5'000);
  CHECK(server.report.percent() > 90);
}

TEST_CASE("agent: the next process goes on from what was known") {
  Server server;
  server.work(60, 5'000);
  server.work(30, 15'000);
  const unsigned percent = server.report.percent();
  REQUIRE(percent < 40);
  Server next;
  next.report = AgentReport(server.report.memory());
  next.sample.now = 5;
  next.look();
  CHECK(next.report.percent() == doctest::Approx(percent).epsilon(0.1));
  next.work(20, 15'000);
  CHECK(next.report.percent() == doctest::Approx(percent).epsilon(0.1));
  // Of a process that knew nothing.
  Server first;
  first.report = AgentReport(Server().report.memory());
  first.look();
  CHECK(first.report.percent() == 100);
}

TEST_CASE("agent: totals that make no sense do no harm") {
  Server server;
  server.report = AgentReport({.best = UINT64_MAX, .mean = UINT64_MAX, .free = UINT64_MAX});
  server.look(UINT64_MAX / 2);
  server.sample.run_time = 0;
  server.look();
  CHECK(server.report.percent() >= 1);
  CHECK(server.report.percent() <= 100);
  (void)server.report.memory();
}

}  // namespace
}  // namespace pool_server
