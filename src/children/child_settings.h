#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "children/keeper.h"
#include "children/nursery.h"
#include "children/spawner.h"
#include "core/ids.h"
#include "handlers/registry.h"

namespace pool_server {

// What the children of a pool are, and how long each is kept.
struct ChildSettings {
  std::vector<std::string> words;        // of a program
  bool frames = false;                   // it speaks in frames, and is told so
  std::shared_ptr<const Keeper> keeper;  // of a handler; null: they are programs
  std::size_t max_reply = 0;             // of a program, in bytes
  LongestReply longest_reply;            // of a handler
  TimeUs grace = 0;                      // µs
  std::size_t address_space = 0;         // bytes; 0: no limit, as with the next
  std::size_t max_tasks = 0;
  std::size_t max_memory = 0;  // bytes, resident
};

// As Spawner::spawn(). Any thread.
Spawner::Spawned start_child(const Nursery& nursery, const ChildSettings& settings,
                             const std::string& label,
                             const Spawner::Interruption* interruption = nullptr);

}  // namespace pool_server
