#include "server/admission.h"

#include <doctest/doctest.h>

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/fake_host.h"
#include "support/tasks.h"

namespace pool_server {
namespace {

// Passes requests on to the admission under test.
struct Desk final : FakeHost {
  using FakeHost::FakeHost;
  Admission* admission = nullptr;
  Overload overload = Overload::kWait;
  std::vector<Admission::Verdict> verdicts;

  bool take_request(Connection& connection, std::string_view line) override {
    verdicts.push_back(admission->admit(connection, line, loop().now(), overload));
    return verdicts.back() != Admission::Verdict::kWait;
  }
};

// One worker, which is busy until the gate opens, and a queue of four.
struct AdmissionFixture {
  AdmissionFixture() {
    desk.admission = &admission;
    REQUIRE(pool.queue().push(task(0, "wait", /*slot=*/1000)));
    CHECK(eventually([&] { return script.begun == 1; }));
  }
  AdmissionFixture(const AdmissionFixture&) = delete;
  AdmissionFixture& operator=(const AdmissionFixture&) = delete;
  ~AdmissionFixture() { script.gate.open(); }

  // Sends so many lines, and lets the loop read them.
  void ask(Client& client, int lines) {
    const std::size_t before = desk.verdicts.size();
    for (int i = 0; i < lines; ++i) client.send("text\n");
    CHECK(driver.run_until([&] { return desk.verdicts.size() > before; }));
    driver.run_rounds(2);
  }
  // Lets those in line go on, as far as the budget goes.
  void give_turns(RoundBudget budget = {}) {
    admission.begin_turns();
    while (!budget.used_up()) {
      const auto next = admission.next_in_line();
      if (!next) break;
      if (Connection* connection = desk.table.find(*next)) desk.resume(*connection);
    }
    admission.end_turns();
  }
  // Takes what is queued, as a worker would; how much of it is whose.
  std::map<std::uint32_t, int> take_queued() {
    std::map<std::uint32_t, int> by_slot;
    TaskQueue::Sleeper sleeper;
    std::array<RunPtr, 1> batch;
    bool loop_waits = false;
    while (pool.queue().level().depth > 0) {
      REQUIRE(pool.queue().pop(sleeper, batch, 0, loop_waits) == 1);
      by_slot[batch[0]->connection.slot] += static_cast<int>(batch[0]->size());
      admission.on_ended(*batch[0]);
    }
    return by_slot;
  }

  Script script;
  CompletionQueue completions;
  ThreadPool pool{1, 4, script.factory(), completions};
  LoopDriver driver;
  Desk desk{driver};
  RunRecycler recycler;
  Counters counters;
  Admission admission{pool, recycler, counters, [](std::size_t) { return 100; }};
};

TEST_CASE_FIXTURE(AdmissionFixture, "admission: a round's tasks are handed over in one go") {
  auto [id, client] = desk.connect();
  ask(client, 3);
  CHECK(admission.staged() == 3);
  CHECK(admission.outstanding() == 3);
  CHECK(pool.queue().level().depth == 0);
  CHECK(admission.submit(1));
  CHECK_FALSE(admission.submit(1));
  CHECK(admission.staged() == 0);
  CHECK(pool.queue().level().depth == 3);
  CHECK(take_queued() == std::map<std::uint32_t, int>{{id.slot, 3}});
  CHECK(admission.outstanding() == 0);
}

TEST_CASE_FIXTURE(AdmissionFixture,
                  "admission: who has gone keeps no place in line, however long it does not move") {
  const auto is_open = [this](ConnectionId id) { return desk.table.find(id) != nullptr; };
  auto [stays_id, stays] = desk.connect();
  ask(stays, 10);
  CHECK(admission.submit(1));
  for (std::size_t i = 0; i < 100; ++i) {
    auto [id, client] = desk.connect();
    ask(client, 1);
    REQUIRE(desk.table.find(id)->waits_for_room());
    client.leave();
    desk.table.find(id)->close(/*broken=*/false);
    admission.on_waiter_gone(is_open);
    CHECK(admission.in_line() <= 3);
  }
  take_queued();
  give_turns();
  CHECK(admission.staged() > 0);
  CHECK(admission.submit(1));
  CHECK(take_queued().contains(stays_id.slot));
}

TEST_CASE_FIXTURE(AdmissionFixture,
                  "R1: what does not fit waits in line, and each gets an equal share") {
  auto [first_id, first] = desk.connect();
  auto [second_id, second] = desk.connect();
  ask(first, 10);
  CHECK(admission.staged() == 4);
  ask(second, 10);
  CHECK(desk.table.find(first_id)->waits_for_room());
  CHECK(desk.table.find(second_id)->waits_for_room());
  admission.submit(1);
  CHECK(pool.queue().level().free == 0);

  give_turns();  // no room: nothing moves
  CHECK(admission.staged() == 0);
  take_queued();
  give_turns();
  CHECK(admission.staged() == 4);
  admission.submit(2);
  CHECK(take_queued() == std::map<std::uint32_t, int>{{first_id.slot, 2}, {second_id.slot, 2}});

  // A newcomer queues up behind those in line.
  auto [third_id, third] = desk.connect();
  ask(third, 1);
  CHECK(desk.table.find(third_id)->waits_for_room());
  std::map<std::uint32_t, int> served;
  for (int round = 0; round < 10; ++round) {
    give_turns();
    admission.submit(3);
    CHECK(pool.queue().level().depth <= 4);
    for (const auto& [slot, count] : take_queued()) served[slot] += count;
    driver.run_rounds(1);
  }
  CHECK(served ==
        std::map<std::uint32_t, int>{{first_id.slot, 4}, {second_id.slot, 8}, {third_id.slot, 1}});
  CHECK(admission.outstanding() == 0);
}

TEST_CASE_FIXTURE(AdmissionFixture, "admission: with --overload reject nobody waits") {
  desk.overload = Overload::kReject;
  auto [id, client] = desk.connect();
  ask(client, 6);
  using V = Admission::Verdict;
  CHECK(desk.verdicts ==
        std::vector<V>{V::kAdmitted, V::kAdmitted, V::kAdmitted, V::kAdmitted, V::kBusy, V::kBusy});
  CHECK_FALSE(desk.table.find(id)->waits_for_room());
  admission.submit(1);
  take_queued();
  give_turns();
  desk.verdicts.clear();
  ask(client, 1);
  CHECK(desk.verdicts == std::vector<V>{V::kAdmitted});
}

TEST_CASE_FIXTURE(AdmissionFixture,
                  "admission: what a client leaves behind is taken back wherever it is") {
  auto [id, client] = desk.connect();
  auto [other_id, other] = desk.connect();
  ask(client, 1);
  ask(other, 1);
  admission.submit(1);
  ask(client, 2);
  CHECK(admission.outstanding() == 4);
  admission.cancel(id);
  CHECK(admission.outstanding() == 1);
  CHECK(admission.staged() == 0);
  CHECK(counters.cancelled == 3);
  CHECK(take_queued() == std::map<std::uint32_t, int>{{other_id.slot, 1}});
}

TEST_CASE_FIXTURE(AdmissionFixture, "admission: those in line who have left give up their place") {
  auto [first_id, first] = desk.connect();
  auto [second_id, second] = desk.connect();
  ask(first, 5);
  ask(second, 2);
  admission.submit(1);
  desk.table.find(first_id)->close(/*broken=*/true);
  admission.cancel(first_id);
  give_turns();
  CHECK(admission.staged() == 2);
  admission.submit(2);
  CHECK(take_queued() == std::map<std::uint32_t, int>{{second_id.slot, 2}});
}

TEST_CASE_FIXTURE(AdmissionFixture,
                  "admission: who waits in line goes on as far as the budget goes") {
  // Fails when the loop serves everyone in line in one round however many they are.
  auto [first_id, first] = desk.connect();
  auto [second_id, second] = desk.connect();
  ask(first, 5);
  ask(second, 5);
  admission.submit(1);
  take_queued();
  RoundBudget budget;
  budget.spend_lines(RoundBudget::kLinesOfRound);
  give_turns(budget);
  CHECK(admission.staged() == 0);
  CHECK(desk.table.find(first_id)->waits_for_room());
  give_turns();
  CHECK(admission.staged() == 4);
}

// What was staged, as (slot, tasks) of each run in the order of the queue.
std::vector<std::pair<std::uint32_t, std::size_t>> runs_in(TaskQueue& queue) {
  std::vector<std::pair<std::uint32_t, std::size_t>> runs;
  std::vector<RunPtr> all;
  queue.take_all(all);
  for (const RunPtr& run : all) runs.emplace_back(run->connection.slot, run->size());
  return runs;
}

TEST_CASE_FIXTURE(AdmissionFixture,
                  "admission: lines of one client go together as far as they are short") {
  pool.queue().set_capacity(1000);
  admission.forget_room();
  auto guest = desk.connect();
  auto other_guest = desk.connect();
  const ConnectionId id = guest.first;
  const ConnectionId other_id = other_guest.first;
  Client& client = guest.second;
  Client& other = other_guest.second;
  const auto ask_all = [&] {
    ask(client, 9);
    ask(other, 2);
    admission.submit(1);
    return runs_in(pool.queue());
  };
  using Runs = std::vector<std::pair<std::uint32_t, std::size_t>>;
  // Nothing is known of their length: each for itself.
  Runs runs = ask_all();
  CHECK(runs.size() == 11);
  for (const auto& [slot, size] : runs) CHECK(size == 1);

  const auto learn = [&](TimeUs each) {
    for (int i = 0; i < 200; ++i) {
      Run ended;
      for (int task = 0; task < 3; ++task) ended.add("x");
      for (Task& task : ended.tasks) task.took = each;
      ended.work = 3 * each;
      admission.on_ended(ended);
    }
    CHECK(admission.estimated_task() == doctest::Approx(static_cast<double>(each)).epsilon(0.01));
  };
  learn(0);
  CHECK((ask_all() == Runs{{id.slot, 9}, {other_id.slot, 2}}));
  learn(4);  // 20 us are five of them
  CHECK((ask_all() == Runs{{id.slot, 5}, {other_id.slot, 2}, {id.slot, 4}}));
  learn(100);
  for (const auto& [slot, size] : ask_all()) CHECK(size == 1);
  // However short they are, a worker is to be back soon.
  learn(0);
  ask(client, 200);
  admission.submit(1);
  CHECK((runs_in(pool.queue()) == Runs{{id.slot, 64}, {id.slot, 64}, {id.slot, 64}, {id.slot, 8}}));
}

TEST_CASE_FIXTURE(AdmissionFixture,
                  "admission: what a run costs is charged, and what it takes is estimated") {
  // Fails when a handler's own account of its work is left out.
  auto [id, client] = desk.connect();
  ask(client, 1);
  Run ended;
  ended.add("x");
  ended.tasks[0].took = 5'000;
  ended.work = 10;
  admission.on_ended(ended);
  CHECK(admission.estimated_task() == doctest::Approx(10));
  CHECK(admission.busy_time() == 5'000);
  admission.submit(1);
  std::vector<RunPtr> all;
  pool.queue().take_all(all);
  REQUIRE(all.size() == 1);
  CHECK(all.front()->charge == 4 + protocol::kLongestPrefix + 100);
  CHECK(all.front()->charge == desk.table.find(id)->writer().bytes_owed());
}

TEST_CASE_FIXTURE(AdmissionFixture, "admission: counts what ended, and the time it took") {
  Run ended;
  ended.add("x");
  ended.tasks[0].took = ended.work = 250;
  auto [id, client] = desk.connect();
  ask(client, 2);
  admission.on_ended(ended);
  CHECK(admission.busy_time() == 250);
  CHECK(admission.ended() == 1);
  ended.shed = Run::Shed::kWaitedTooLong;  // nobody worked on it
  admission.on_ended(ended);
  CHECK(admission.busy_time() == 250);
  CHECK(admission.ended() == 1);
  CHECK(admission.outstanding() == 0);
}

}  // namespace
}  // namespace pool_server
