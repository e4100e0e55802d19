#include "monitor/agent.h"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "support/descriptors.h"
#include "support/loop_driver.h"
#include "sys/socket.h"

namespace pool_server {
namespace {

struct FixedState final : AgentSource {
  int looks = 0;
  int judged = 0;
  bool is_hopeless = false;
  bool out_of_memory = false;
  ServerState::Phase now_in = ServerState::Phase::kServing;
  std::vector<std::string> troubles;
  AgentReport::Sample sample;

  AgentReport::Sample agent_sample() override {
    ++looks;
    if (out_of_memory) throw std::bad_alloc();
    return sample;
  }
  ServerState::Phase phase() override { return now_in; }
  std::string_view hopeless() override {
    if (out_of_memory) throw std::bad_alloc();
    ++judged;
    return is_hopeless ? "it is broken" : "";
  }
  void on_agent_trouble(const std::string& what) override { troubles.push_back(what); }
};

struct AgentFixture {
  LoopDriver driver;
  FixedState source;
  int door = -1;
  Agent agent{driver.loop, driver.timers, sockets(), source, {}};
  const std::size_t before = descriptors();

  std::vector<ListeningSocket> sockets() {
    source.sample.workers = source.sample.able = 4;
    source.sample.queue_capacity = 10;
    std::vector<ListeningSocket> all;
    all.push_back(listen_on_any_port());
    door = all.front().fd.get();
    return all;
  }
  // How many are open; the lowest that is free tells of one that was left.
  static std::size_t descriptors() {
    std::size_t open = 0;
    for (int fd = 0; fd < 256; ++fd) open += is_open(fd) ? 1 : 0;
    return open;
  }
  // What the visitor hears until the end; what is there by now, if it does not come.
  std::string hear(const UniqueFd& visitor) {
    std::string heard;
    std::array<char, 256> piece{};
    set_nonblocking(visitor.get());
    driver.run_until([&] {
      const IoResult got = receive(visitor.get(), piece);
      if (got.status == IoStatus::kOk) heard.append(piece.data(), got.bytes);
      if (got.status == IoStatus::kError) heard.append("(reset)");
      return got.status == IoStatus::kEof || got.status == IoStatus::kError;
    });
    return heard;
  }
};

TEST_CASE_FIXTURE(AgentFixture, "agent: who connects hears one line, and the end") {
  const UniqueFd visitor = connect_to(door);
  CHECK(hear(visitor) == "up 100% ready\n");
}

TEST_CASE_FIXTURE(AgentFixture, "agent: what the server is in is asked for each visitor") {
  CHECK(hear(connect_to(door)) == "up 100% ready\n");
  source.now_in = ServerState::Phase::kDraining;
  CHECK(hear(connect_to(door)) == "drain\n");
}

TEST_CASE_FIXTURE(AgentFixture, "agent: that no worker can get on is said soon, and no longer") {
  const auto is_said = [this](const std::string& line) {
    const TimeUs begin = monotonic_now();
    while (hear(connect_to(door)) != line) {
      if (monotonic_now() - begin > 10 * Agent::kStep) return false;
    }
    return true;
  };
  const int looks = source.looks;
  source.is_hopeless = true;
  CHECK(is_said("down #it is broken\n"));
  source.is_hopeless = false;
  CHECK(is_said("up 100% ready\n"));
  CHECK(source.looks <= looks + 1);  // not only when it is looked at
}

TEST_CASE_FIXTURE(AgentFixture,
                  "agent: a visitor that sends, early or late, hears its line all the same") {
  const UniqueFd early = connect_to(door);
  (void)send(early.get(), "hello\n");
  CHECK(hear(early) == "up 100% ready\n");
  const UniqueFd late = connect_to(door);
  driver.run_rounds(5);
  // Told, and our side of it ended: what comes now must not reset it.
  (void)send(late.get(), "hello\n");
  driver.run_rounds(5);
  (void)send(late.get(), "hello again\n");
  driver.run_rounds(5);
  CHECK(hear(late) == "up 100% ready\n");
  CHECK(send(late.get(), "x").status == IoStatus::kOk);
}

TEST_CASE_FIXTURE(AgentFixture,
                  "agent: who leaves is let go of at once, who stays after a second") {
  UniqueFd leaves = connect_to(door);
  const UniqueFd stays = connect_to(door);
  const TimeUs begin = monotonic_now();
  CHECK(hear(leaves) == "up 100% ready\n");
  CHECK(hear(stays) == "up 100% ready\n");
  REQUIRE(descriptors() == before + 4);
  leaves.reset();
  REQUIRE(driver.run_until([&] { return descriptors() == before + 2; }));
  CHECK(monotonic_now() - begin < 1'000'000);
  REQUIRE(driver.run_until([&] { return descriptors() == before + 1; }));
  CHECK(monotonic_now() - begin >= 990'000);
  CHECK(driver.is_quiet());
}

TEST_CASE_FIXTURE(AgentFixture,
                  "agent: however many stay, each newcomer is told, and few are kept") {
  std::vector<UniqueFd> visitors;
  for (int i = 0; i < 60; ++i) {
    visitors.push_back(connect_to(door));
    CHECK(hear(visitors.back()) == "up 100% ready\n");
    CHECK(descriptors() <= before + visitors.size() + Agent::kMostVisitors);
  }
}

TEST_CASE_FIXTURE(AgentFixture, "agent: who sends without end is shown out") {
  const UniqueFd visitor = connect_to(door);
  set_nonblocking(visitor.get());
  const std::string much(4096, 'x');
  const TimeUs begin = monotonic_now();
  CHECK(driver.run_until([&] { return send(visitor.get(), much).status == IoStatus::kError; }));
  CHECK(monotonic_now() - begin < 1'000'000);
}

TEST_CASE_FIXTURE(AgentFixture, "agent: a flood comes in a few at a time") {
  std::vector<UniqueFd> visitors;
  for (int i = 0; i < 40; ++i) visitors.push_back(connect_to(door));
  const TimeUs begin = monotonic_now();
  for (const UniqueFd& visitor : visitors) CHECK(hear(visitor) == "up 100% ready\n");
  CHECK(monotonic_now() - begin >= 9 * 5'000 - 1'000);
}

TEST_CASE_FIXTURE(AgentFixture, "agent: the server is looked at once a second, however many ask") {
  source.looks = source.judged = 0;
  const TimeUs begin = monotonic_now();
  while (monotonic_now() - begin < 1'500'000) CHECK(hear(connect_to(door)) == "up 100% ready\n");
  CHECK(source.looks >= 1);
  CHECK(source.looks <= (monotonic_now() - begin) / 1'000'000 + 1);
  CHECK(source.judged <= (monotonic_now() - begin) / Agent::kFresh + 1);
}

TEST_CASE_FIXTURE(AgentFixture, "agent: a look that finds no memory is left out") {
  source.out_of_memory = true;
  const int looks = source.looks;
  REQUIRE(driver.run_until([&] { return source.looks > looks; }));
  CHECK(hear(connect_to(door)).empty());  // it asks again
  source.out_of_memory = false;
  CHECK(hear(connect_to(door)) == "up 100% ready\n");
}

TEST_CASE_FIXTURE(AgentFixture, "agent: who waits when the server has ended is told") {
  std::vector<UniqueFd> visitors;
  for (int i = 0; i < 10; ++i) visitors.push_back(connect_to(door));
  (void)send(visitors.front().get(), "hello\n");
  agent.say_stopped();
  for (const UniqueFd& visitor : visitors) CHECK(hear(visitor) == "stopped #it has ended\n");
}

TEST_CASE_FIXTURE(AgentFixture, "agent: a door that is broken is told, and the loop stays quiet") {
  shut_down(door);
  REQUIRE(driver.run_until([&] { return !source.troubles.empty(); }));
  CHECK(source.troubles.front().starts_with("no agent on "));
  CHECK(driver.is_quiet());
}

TEST_CASE_FIXTURE(AgentFixture, "agent: without a descriptor for a visitor it tries again later") {
  const UniqueFd visitor = connect_to(door);
  {
    const NoDescriptorsLeft none;
    REQUIRE(driver.run_until([&] { return !source.troubles.empty(); }));
    CHECK(source.troubles.front().starts_with("the agent lets nobody in for now"));
    CHECK(driver.is_quiet());
  }
  CHECK(hear(visitor) == "up 100% ready\n");
}

}  // namespace
}  // namespace pool_server
