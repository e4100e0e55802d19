#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "pool/thread_pool.h"
#include "support/tasks.h"
#include "support/waiting.h"

namespace pool_server {

constexpr TimeUs kTimeout = 50'000;       // µs; never waited for: times are arguments
constexpr TimeUs kFarFuture = 1LL << 50;  // everything has run for very long by then

// A pool and what a test needs round it, in the order of their lives.
struct PoolFixture {
  explicit PoolFixture(unsigned workers, std::size_t capacity = 1000)
      : pool(workers, capacity, script.factory(), completions) {}
  PoolFixture(const PoolFixture&) = delete;
  PoolFixture& operator=(const PoolFixture&) = delete;
  ~PoolFixture() { script.gate.open(); }

  void submit(std::uint64_t number, std::string text, std::uint32_t slot = 0) {
    REQUIRE(pool.queue().push(task(number, std::move(text), slot)));
  }
  // What runs right now, once that is `count` tasks.
  std::vector<Worker::Running> running(std::size_t count) {
    std::vector<Worker::Running> now;
    CHECK(eventually([&] { return (now = pool.running()).size() == count; }));
    return now;
  }
  bool all_idle(std::size_t count) {
    return eventually([&] { return pool.queue().level().idle == count; });
  }
  ThreadPool::Inspection inspect(TimeUs now, TimeUs task_timeout, unsigned max_stuck = 0) {
    ThreadPool::Inspection found;
    pool.inspect(now, {.task_timeout = task_timeout, .max_stuck = max_stuck},
                 /*outstanding=*/1, /*estimated_task=*/1'000, found);
    return found;
  }

  Script script;
  CompletionQueue completions;
  ThreadPool pool;
};

}  // namespace pool_server
