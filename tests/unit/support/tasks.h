#pragma once

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/handler.h"
#include "core/task.h"
#include "core/task_chain.h"
#include "pool/completion_queue.h"
#include "support/waiting.h"

namespace pool_server {

inline TaskPtr task(std::uint64_t number, std::string text = {}, std::uint32_t slot = 0) {
  auto made = std::make_unique<Task>();
  made->connection = {slot, 1};
  made->number = number;
  made->text = std::move(text);
  return made;
}

inline std::vector<std::uint64_t> numbers_of(const std::vector<TaskPtr>& tasks) {
  std::vector<std::uint64_t> numbers;
  for (const TaskPtr& each : tasks) numbers.push_back(each->number);
  return numbers;
}

// Takes them out.
inline std::vector<std::uint64_t> numbers_of(TaskChain& tasks) {
  std::vector<std::uint64_t> numbers;
  while (const TaskPtr each = tasks.pop()) numbers.push_back(each->number);
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
  std::atomic<int> begun = 0;    // requests
  std::atomic<int> ended = 0;    // of those, that did not throw
  std::atomic<int> stopped = 0;  // "until-stopped" that were

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

 private:
  Script& script_;
};

inline HandlerFactory Script::factory() {
  return [this] { return std::make_unique<ScriptedHandler>(*this); };
}

// The loop's side of a CompletionQueue. Takes what has come, sleeping on the eventfd as the loop
// does, until there are `count`; fewer when a wake-up got lost.
inline std::vector<TaskPtr> collect(CompletionQueue& completions, std::size_t count) {
  std::vector<TaskPtr> all;
  std::vector<TaskPtr> taken;
  while (all.size() < count) {
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
