#include "server/drain.h"

#include <doctest/doctest.h>

#include <csignal>
#include <new>
#include <optional>
#include <vector>

#include "support/failing_new.h"
#include "support/loop_driver.h"
#include "support/signal_mask.h"

namespace pool_server {
namespace {

using Asked = DrainHost::Asked;

constexpr TimeUs kHour = 3'600'000'000;

// A server as far as signals have to do with it.
struct DrainFixture : DrainHost {
  explicit DrainFixture(bool all_announced = false) : all_are_announced(all_announced) {
    driver.at_end_of_round = [this] { end_round(); };
  }
  DrainFixture(const DrainFixture&) = delete;
  DrainFixture& operator=(const DrainFixture&) = delete;
  virtual ~DrainFixture() = default;

  Begun begin_drain(Asked asked) override {
    const TimeUs now = driver.loop.now();
    if (tries++ == 0) memory_at_ = now + without_memory_for;
    if (now < memory_at_) throw std::bad_alloc();
    begun.push_back(asked);
    if (fails_when_begun) none.emplace(0U, FailingNew::Then::kRecovers);
    return {.time = time_to_drain, .what = "draining"};
  }
  void request_reload() override { ++reloads; }
  void toggle_lame_duck() override { ++toggles; }

  void end_round() {
    try {
      drain.begin_if_asked();
    } catch (const std::bad_alloc&) {
      none.reset();
      ++failures;
      return;
    }
    none.reset();
    drain.tick(work_left);
  }
  // Sends these, in one go, and lets the loop read them.
  void send(std::initializer_list<int> numbers) {
    for (const int number : numbers) raise(number);
    driver.run_rounds(2);
  }
  bool is_over() {
    return driver.run_until([this] { return !begun.empty() && !drain.draining(); });
  }

  const bool all_are_announced;
  TimeUs time_to_drain = kHour;
  TimeUs without_memory_for = 0;  // from the first try on
  bool fails_when_begun = false;
  std::optional<FailingNew> none;
  int failures = 0;
  bool work_left = true;
  int tries = 0;
  std::vector<Asked> begun;
  int reloads = 0;
  int toggles = 0;

  KeepSignalMask mask;
  SignalFd signals{SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGRTMIN};
  LoopDriver driver;
  Drain drain{signals, driver.loop, driver.timers, *this, all_are_announced};

 private:
  TimeUs memory_at_ = 0;
};

struct Announced : DrainFixture {
  Announced() : DrainFixture(/*all_announced=*/true) {}
};

TEST_CASE_FIXTURE(DrainFixture, "drain: SIGTERM begins it once, and it ends when nothing is left") {
  send({SIGTERM});
  CHECK(begun == std::vector{Asked::kStop});
  CHECK(drain.draining());
  driver.run_rounds(5);
  CHECK(drain.draining());
  CHECK(tries == 1);
  work_left = false;
  CHECK(is_over());
  CHECK_FALSE(drain.cut_short());
}

TEST_CASE_FIXTURE(DrainFixture, "drain: SIGINT is a stop as well, and a second signal ends it") {
  send({SIGINT});
  CHECK(begun == std::vector{Asked::kStop});
  CHECK(drain.draining());
  send({SIGTERM});
  CHECK_FALSE(drain.draining());
  CHECK(drain.cut_short());
  CHECK(tries == 1);
}

TEST_CASE_FIXTURE(DrainFixture, "drain: the end of its time ends it") {
  time_to_drain = 20'000;
  send({SIGTERM});
  CHECK(is_over());
  CHECK(drain.cut_short());
}

TEST_CASE_FIXTURE(DrainFixture, "drain: an announced successor makes a restart of the stop") {
  send({SIGUSR1});
  CHECK(begun.empty());
  send({SIGTERM});
  CHECK(begun == std::vector{Asked::kRestart});
}

TEST_CASE_FIXTURE(DrainFixture, "drain: both signals read at once are a restart, too") {
  send({SIGUSR1, SIGTERM});
  CHECK(begun == std::vector{Asked::kRestart});
}

TEST_CASE_FIXTURE(DrainFixture,
                  "drain: an announcement can be taken back, even behind the SIGTERM") {
  send({SIGUSR1});
  send({SIGRTMIN, SIGTERM});
  CHECK(begun == std::vector{Asked::kStop});
}

TEST_CASE_FIXTURE(Announced, "drain: where all is announced, a bare SIGTERM may be either") {
  send({SIGTERM});
  CHECK(begun == std::vector{Asked::kEither});
}

TEST_CASE_FIXTURE(Announced, "drain: where all is announced, a stop says so") {
  send({SIGTERM, SIGRTMIN});
  CHECK(begun == std::vector{Asked::kStop});
}

TEST_CASE_FIXTURE(Announced, "drain: where all is announced, so is a restart") {
  send({SIGUSR1, SIGTERM});
  CHECK(begun == std::vector{Asked::kRestart});
}

TEST_CASE_FIXTURE(DrainFixture,
                  "drain: reload and lame duck are passed on, while it has not begun") {
  send({SIGHUP});
  send({SIGUSR2});
  send({SIGUSR2});
  CHECK(reloads == 1);
  CHECK(toggles == 2);
  CHECK_FALSE(drain.draining());
  send({SIGTERM});
  send({SIGHUP});
  send({SIGUSR2});
  CHECK(reloads == 1);
  CHECK(toggles == 2);
  CHECK(drain.draining());
}

TEST_CASE_FIXTURE(DrainFixture, "drain: without memory it begins when there is some") {
  without_memory_for = 20'000;
  send({SIGUSR1, SIGTERM});
  CHECK(drain.draining());
  CHECK(driver.run_until([this] { return !begun.empty(); }));
  CHECK(begun == std::vector{Asked::kRestart});
  CHECK(tries > 1);
  CHECK(drain.draining());
}

TEST_CASE_FIXTURE(DrainFixture, "drain: it begins once, though there is no memory for its end") {
  fails_when_begun = true;
  send({SIGUSR1, SIGTERM});
  CHECK(driver.run_until([this] { return failures == 1; }));
  driver.run_rounds(2);
  CHECK(begun == std::vector{Asked::kRestart});
  work_left = false;
  CHECK(is_over());
}

TEST_CASE_FIXTURE(DrainFixture, "drain: its time counts from the signal, however late it begins") {
  time_to_drain = 10'000;
  without_memory_for = 100'000;
  send({SIGTERM});
  CHECK(driver.run_until([this] { return !begun.empty(); }));
  CHECK_FALSE(drain.draining());
  CHECK(drain.cut_short());
}

TEST_CASE_FIXTURE(DrainFixture, "drain: the end of its time comes earlier, never later") {
  send({SIGTERM});
  drain.hasten(driver.loop.now() + 20'000);
  drain.hasten(driver.loop.now() + kHour);
  CHECK(is_over());
}

TEST_CASE_FIXTURE(DrainFixture,
                  "drain: a failure is as a restart that begins in this round's end") {
  drain.begin_for_failure();
  CHECK(begun.empty());
  driver.run_rounds(2);
  CHECK(begun == std::vector{Asked::kRestart});
  drain.begin_for_failure();
  driver.run_rounds(2);
  CHECK(tries == 1);
  CHECK(drain.draining());
}

TEST_CASE_FIXTURE(DrainFixture, "drain: a stop in no time is as a restart that is over at once") {
  drain.stop_now();
  CHECK(begun == std::vector{Asked::kRestart});
  drain.stop_now();
  CHECK(tries == 1);
  driver.run_rounds(1);
  CHECK_FALSE(drain.draining());
  CHECK(drain.cut_short());
}

}  // namespace
}  // namespace pool_server
