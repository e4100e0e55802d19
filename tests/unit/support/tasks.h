#pragma once

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <initializer_list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/handler.h"
#include "core/run.h"
#include "core/run_chain.h"
#include "pool/completion_queue.h"
#include "support/waiting.h"

namespace pool_server {

// A run of those requests, numbered from `first` on.
inline RunPtr run_of(std::uint64_t first, std::initializer_list<std::string_view> requests,
                     std::uint32_t slot = 0) {
  auto made = std::make_unique<Run>();
  made->connection = {slot, 1};
  made->number = made->sequence = first;
  for (const std::string_view request : requests) made->add(request);
  return made;
}

// One of a single task.
inline RunPtr task(std::uint64_t number, std::string_view text = {}, std::uint32_t slot = 0) {
  return run_of(number, {text}, slot);
}

inline void add_numbers_of(const Run& run, std::vector<std::uint64_t>& numbers) {
  for (std::size_t i = 0; i < run.size(); ++i) numbers.push_back(run.number + i);
}

inline std::vector<std::uint64_t> numbers_of(const std::vector<RunPtr>& runs) {
  std::vector<std::uint64_t> numbers;
  for (const RunPtr& run : runs) add_numbers_of(*run, numbers);
  return numbers;
}

// Takes them out.
inline std::vector<std::uint64_t> numbers_of(RunChain& runs) {
  std::vector<std::uint64_t> numbers;
  while (const RunPtr run = runs.pop()) add_numbers_of(*run, numbers);
  return numbers;
}

inline std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// Closed until it is opened.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// What the handlers of a test share.
struct Script {
  Gate gate;
  std::atomic<int> begun = 0;        // requests
  std::atomic<int> ended = 0;        // of those, that did not throw
  std::atomic<int> stopped = 0;      // "until-stopped" that were
  std::atomic<int> interrupted = 0;  // handlers, each time

  HandlerFactory factory();
};

// "wait" ends when the gate opens, "until-stopped" when the stop token is set, "stopped?" says
// whether it is; "throw" and "throw-int" throw, "fail" is an error; all else is echoed.
class ScriptedHandler final : public Handler {
 public:
  explicit ScriptedHandler(Script& script) : script_(script) {}

  Outcome handle(std::string_view request, const StopToken& stop, std::string& reply) override {
    ++script_.begun;
    if (request == "throw") throw std::runtime_error("must not be seen");
    if (request == "throw-int") throw 7;
    if (request == "wait") script_.gate.pass();
    if (request == "until-stopped" && eventually([&] { return stop.stop_requested(); })) {
      ++script_.stopped;
    }
    reply.append(request);
    if (request == "stopped?") reply.append(stop.stop_requested() ? " yes" : " no");
    ++script_.ended;
    return request == "fail" ? Outcome::kError : Outcome::kOk;
  }
  void interrupt() noexcept override { ++script_.interrupted; }

 private:
  Script& script_;
};

inline HandlerFactory Script::factory() {
  return [this] { return std::make_unique<ScriptedHandler>(*this); };
}

// The loop's side of a CompletionQueue. Takes what has come, sleeping on the eventfd as the loop
// does, until there are results of `count` tasks; fewer when a wake-up got lost.
inline std::vector<RunPtr> collect(CompletionQueue& completions, std::size_t count) {
  std::vector<RunPtr> all;
  std::vector<RunPtr> taken;
  while (tasks_in(all) < count) {
    if (!completions.take_or_sleep(taken)) {
      pollfd wake{completions.event().fd(), POLLIN, 0};
      const auto ms = std::chrono::milliseconds(kPatience).count();
      if (::poll(&wake, 1, static_cast<int>(ms)) == 0) break;
      completions.event().clear();
    }
    std::move(taken.begin(), taken.end(), std::back_inserter(all));
    taken.clear();
  }
  return all;
}

}  // namespace pool_server
