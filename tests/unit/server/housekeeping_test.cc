#include "server/housekeeping.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "support/fake_manager.h"
#include "support/front_desk.h"
#include "support/log_pipe.h"
#include "support/wrapped_pthread.h"
#include "sys/service_manager.h"

namespace pool_server {
namespace {

Options options_for(unsigned min_workers, unsigned max_workers) {
  Options options;
  options.min_workers = min_workers;
  options.max_workers = max_workers;
  options.worker_idle_timeout = 0;
  options.max_stuck_workers = 0;
  return options;
}

// A service under a manager that wants to hear from it every 20 ms.
struct House {
  explicit House(const Options& options) : desk(options) {
    desk.driver.at_end_of_round = [this] {
      desk.end_round();
      if (changes) ++desk.counters.completed;
      housekeeping.tick(desk.driver.loop.now());
      housekeeping.tell_rest(desk.driver.loop.now());
    };
    housekeeping.start(monotonic_now());
  }

  StatsView view() {
    StatsView view{.counters = desk.counters};
    view.workers = desk.pool.size();
    view.active_workers = std::min<std::size_t>(desk.admission.outstanding(), desk.pool.size());
    return view;
  }
  auto heard(const std::string& beginning) {
    return std::ranges::count_if(manager.heard(), [&](const std::string& message) {
      return message.starts_with(beginning);
    });
  }
  void run_for(TimeUs time) {
    const TimeUs end = monotonic_now() + time;
    REQUIRE(desk.driver.run_until([&] { return monotonic_now() >= end; }));
  }

  bool changes = false;
  const ScopedVariable interval{"WATCHDOG_USEC", "20000"};
  const ScopedVariable whose{"WATCHDOG_PID", std::nullopt};
  FakeManager manager;
  FrontDesk desk;
  Housekeeping housekeeping{desk.options, desk.driver.timers, desk.pool, desk.admission,
                            [this] { return view(); }};
};

TEST_CASE("housekeeping: STATUS is told when it has changed, and once a second at the most") {
  House house(options_for(1, 1));
  CHECK(house.desk.driver.run_until([&] { return house.heard("STATUS=") == 1; }));
  house.run_for(1'100'000);
  CHECK(house.heard("STATUS=") == 1);
  house.changes = true;
  const TimeUs before = monotonic_now();
  CHECK(house.desk.driver.run_until([&] { return house.heard("STATUS=") >= 3; }));
  CHECK(monotonic_now() - before >= 1'000'000);
}

TEST_CASE("housekeeping: the watchdog is fed while the pool gets on, and no longer") {
  Options options = options_for(1, 1);
  options.task_timeout = 1'000;
  House house(options);
  CHECK(house.desk.driver.run_until([&] { return house.heard("WATCHDOG=1") > 3; }));
  Client client = house.desk.connect();
  client.send("wait\nnext\n");
  CHECK(house.desk.driver.run_until([&] { return house.desk.watch.pool_is_stuck(); }));
  house.run_for(50'000);              // what it ended before counts until it is looked at again
  service_manager::notify("MARK=1");  // the manager hears one after the other
  CHECK(house.desk.driver.run_until([&] { return house.heard("MARK=1") == 1; }));
  const auto fed = house.heard("WATCHDOG=1");
  house.run_for(100'000);
  service_manager::notify("MARK=2");
  CHECK(house.desk.driver.run_until([&] { return house.heard("MARK=2") == 1; }));
  CHECK(house.heard("WATCHDOG=1") == fed);
  house.desk.script.gate.open();
  CHECK(house.desk.driver.run_until([&] { return house.heard("WATCHDOG=1") > fed + 3; }));
}

TEST_CASE("housekeeping: a long task that may take its time is progress") {
  House house(options_for(1, 1));
  Client client = house.desk.connect();
  client.send("wait\nnext\n");
  CHECK(house.desk.driver.run_until([&] { return house.desk.script.begun == 1; }));
  house.run_for(50'000);
  const auto fed = house.heard("WATCHDOG=1");
  CHECK(house.desk.driver.run_until([&] { return house.heard("WATCHDOG=1") > fed + 3; }));
}

TEST_CASE("housekeeping: the pool grows while tasks wait, and shrinks when they are done") {
  House house(options_for(1, 3));
  Client client = house.desk.connect();
  client.send("wait\nwait\nwait\nwait\n");
  CHECK(house.desk.driver.run_until([&] { return house.desk.pool.size() == 3; }));
  CHECK(house.desk.driver.run_until([&] { return house.desk.script.begun == 3; }));
  house.run_for(20'000);
  CHECK(house.desk.pool.size() == 3);
  house.desk.script.gate.open();
  CHECK(house.desk.driver.run_until([&] { return house.desk.pool.size() == 1; }));
}

TEST_CASE("housekeeping: new limits hold at once") {
  House house(options_for(1, 1));
  house.desk.driver.run_rounds(3);
  CHECK(house.desk.pool.size() == 1);
  house.desk.options.min_workers = house.desk.options.max_workers = 3;
  house.housekeeping.reconfigure();
  house.desk.driver.run_rounds(2);
  CHECK(house.desk.pool.size() == 3);
  house.desk.options.min_workers = house.desk.options.max_workers = 2;
  house.housekeeping.reconfigure();
  CHECK(house.desk.driver.run_until([&] { return house.desk.pool.size() == 2; }));
}

TEST_CASE("housekeeping: a thread that cannot be had is told, and tried again a second later") {
  House house(options_for(1, 2));
  FrontDesk& desk = house.desk;
  // A failure that comes after a success is news again.
  for (int time = 0; time < 2; ++time) {
    CAPTURE(time);
    LogPipe log(LogLevel::kWarning);
    const auto told = [&log] {
      return log.read().find("cannot start a worker, going on with 1") != std::string::npos;
    };
    Client client = desk.connect();
    TimeUs failed_at = 0;
    {
      const ThreadLimit none(0);
      client.send("until-stopped\nuntil-stopped\n");
      CHECK(desk.driver.run_until([&] { return !desk.pool.start_failure().empty(); }));
      failed_at = desk.driver.loop.now();
    }
    CHECK(desk.pool.size() == 1);
    CHECK(told());
    CHECK(desk.driver.run_until([&] { return desk.pool.size() == 2; }));
    CHECK(monotonic_now() - failed_at >= 1'000'000);
    CHECK_FALSE(told());
    client.break_off();
    CHECK(desk.driver.run_until([&] { return desk.pool.size() == 1; }));
  }
}

}  // namespace
}  // namespace pool_server
