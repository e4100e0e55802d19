#include "children/child_pool.h"

#include <stdexcept>
#include <utility>

#include "children/child_handler.h"
#include "children/execute.h"
#include "children/frame_exchange.h"
#include "children/line_exchange.h"
#include "children/task_exchange.h"
#include "core/command_words.h"
#include "handlers/registry.h"

namespace pool_server {

namespace {

std::shared_ptr<const ChildSettings> settings_of(const Options& options,
                                                 std::shared_ptr<const Keeper> keeper) {
  ChildSettings settings;
  if (keeper == nullptr) settings.words = split_command(options.program);
  settings.frames = options.program_protocol == ProgramProtocol::kFrames;
  settings.keeper = std::move(keeper);
  settings.max_reply = options.max_reply;
  settings.longest_reply = longest_reply_of(options);
  settings.grace = options.kill_grace;
  settings.address_space = options.worker_memory_limit;
  settings.max_tasks = options.worker_max_tasks;
  settings.max_memory = options.worker_max_memory;
  return std::make_shared<const ChildSettings>(std::move(settings));
}

std::string cannot_start(const std::string& program, const std::string& why) {
  return "program '" + program + "' cannot be started: " + why;
}

std::shared_ptr<const Keeper> load_keeper(const Nursery& nursery, const Options& options) {
  if (!options.program.empty()) return nullptr;
  auto keeper = std::make_shared<Keeper>(nursery, options);
  keeper->finish();
  return keeper;
}

}  // namespace

ChildPool::ChildPool(Nursery& nursery, const Options& options)
    : ChildPool(nursery, options, settings_of(options, load_keeper(nursery, options))) {}

ChildPool::ChildPool(Nursery& nursery, const Options& options,
                     const std::shared_ptr<const ChildSettings>& settings)
    : nursery_(nursery),
      roster_(settings),
      keeper_(settings->keeper),
      protocol_(options.program_protocol) {
  Spawner::Spawned spawned = start_child(nursery, *settings, "worker-0");
  if (spawned.child == nullptr) {
    throw std::runtime_error(
        keeper_ == nullptr ? cannot_start(settings->words.front(), spawned.fault)
                           : "handler '" + options.handler + "' cannot start: " + spawned.fault);
  }
  first_ = std::move(spawned.child);
}

std::unique_ptr<Handler> ChildPool::make() {
  std::unique_ptr<Exchange> exchange;
  if (keeper_ == nullptr && protocol_ == ProgramProtocol::kFrames) {
    exchange = std::make_unique<FrameExchange>();
  } else if (keeper_ == nullptr) {
    exchange = std::make_unique<LineExchange>();
  } else {
    exchange = std::make_unique<TaskExchange>();
  }
  return std::make_unique<ChildHandler>(nursery_, roster_, std::move(exchange), std::move(first_));
}

void ChildPool::change(const Options& options, std::shared_ptr<const Keeper> keeper) {
  roster_.change(settings_of(options, keeper));
  keeper_ = std::move(keeper);
}

std::string program_fault(const Options& options) {
  const std::string program = split_command(options.program).front();
  const std::string fault = execution_fault(program);
  return fault.empty() ? fault : cannot_start(program, fault);
}

}  // namespace pool_server
