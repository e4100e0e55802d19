#include "pool/completion_queue.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>

#include "support/descriptors.h"
#include "support/tasks.h"
#include "sys/thread.h"

namespace pool_server {
namespace {

// How often the eventfd was signalled since it was last looked at.
std::uint64_t wakes(CompletionQueue& completions) {
  std::uint64_t count = 0;
  return ::read(completions.event().fd(), &count, sizeof count) < 0 ? 0 : count;
}

void post(CompletionQueue& completions, std::initializer_list<std::uint64_t> numbers) {
  std::vector<RunPtr> batch;
  for (const std::uint64_t number : numbers) batch.push_back(task(number));
  completions.post(batch);
  for (const RunPtr& taken : batch) CHECK(taken == nullptr);
}

TEST_CASE("R4: completions come by eventfd, one wake for all that came while the loop slept") {
  CompletionQueue completions;
  CHECK(wakes(completions) == 0);
  post(completions, {1, 2, 3});
  CHECK(wakes(completions) == 1);
  post(completions, {4});  // it has been woken already
  CHECK(wakes(completions) == 0);

  std::vector<RunPtr> taken;
  CHECK(completions.take_or_sleep(taken));
  CHECK(numbers_of(taken) == std::vector<std::uint64_t>{1, 2, 3, 4});
  taken.clear();
  post(completions, {5});  // it is awake still, and looks again before it sleeps
  CHECK(wakes(completions) == 0);
  CHECK(completions.take_or_sleep(taken));
  CHECK(numbers_of(taken) == std::vector<std::uint64_t>{5});
  taken.clear();

  CHECK_FALSE(completions.take_or_sleep(taken));
  post(completions, {6});
  CHECK(wakes(completions) == 1);
}

TEST_CASE("completion queue: the loop can be woken with nothing to take") {
  CompletionQueue completions;
  std::vector<RunPtr> taken;
  CHECK_FALSE(completions.take_or_sleep(taken));
  completions.wake_loop();
  completions.wake_loop();
  CHECK(wakes(completions) == 1);
  CHECK(completions.take_or_sleep(taken));
  CHECK(taken.empty());
  CHECK_FALSE(completions.take_or_sleep(taken));

  // While the loop is awake there is no need for the eventfd, but it is not forgotten.
  post(completions, {1});
  CHECK(completions.take_or_sleep(taken));
  taken.clear();
  CHECK(wakes(completions) == 1);
  completions.wake_loop();
  CHECK(wakes(completions) == 0);
  CHECK(completions.take_or_sleep(taken));
  CHECK_FALSE(completions.take_or_sleep(taken));
}

TEST_CASE("completion queue: an eventfd at its maximum stops nothing") {
  CompletionQueue completions;
  const std::uint64_t maximum = UINT64_MAX - 1;
  REQUIRE(::write(completions.event().fd(), &maximum, sizeof maximum) == sizeof maximum);
  post(completions, {1, 2});
  CHECK(collect(completions, 2).size() == 2);
}

TEST_CASE("R4: no wake-up is lost between several workers and a loop that sleeps often") {
  constexpr std::uint64_t kWorkers = 3;
  constexpr std::uint64_t kEach = 4'000;
  CompletionQueue completions;
  std::vector<RunPtr> all;
  {
    std::vector<Thread> workers;
    for (std::uint64_t worker = 0; worker < kWorkers; ++worker) {
      workers.emplace_back("poster", [&completions, worker] {
        std::vector<RunPtr> batch;
        for (std::uint64_t i = 0; i < kEach; ++i) {
          batch.push_back(task(worker * kEach + i));
          if (i % 3 != 0 && i + 1 < kEach) continue;
          completions.post(batch);
          batch.clear();
        }
      });
    }
    all = collect(completions, kWorkers * kEach);
  }
  std::vector<std::uint64_t> every(kWorkers * kEach);
  std::iota(every.begin(), every.end(), 0);
  CHECK(sorted(numbers_of(all)) == every);
}

}  // namespace
}  // namespace pool_server
