#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "sys/unique_fd.h"

namespace pool_server {

// CPU time that this process has had, in µs. Any thread.
std::uint64_t cpu_time();

// What of this process is in memory. Keeps a descriptor, so that it can be told at the limit of
// them, too.
class ResidentMemory {
 public:
  ResidentMemory();

  std::uint64_t bytes() const;  // 0: it cannot be told

 private:
  UniqueFd statm_;
};

// What all children of a process have of the machine, those that have ended included. Never looks
// at more of them in one go than it can in a fraction of a millisecond.
class DescendantsUsage {
 public:
  // `before`: CPU time to be counted with theirs, in µs.
  DescendantsUsage(pid_t parent, std::uint64_t before) : parent_(parent), before_(before) {}

  struct Usage {
    std::uint64_t cpu = 0;       // µs, its own, too; never falls
    std::uint64_t resident = 0;  // bytes, without its own
  };
  // Goes on to look. Allocates.
  void look();
  // As it was when all had been looked at; nullopt: they have not been yet.
  const std::optional<Usage>& known() const { return known_; }

 private:
  const pid_t parent_;
  const std::uint64_t before_;
  std::vector<pid_t> left_;  // to look at
  bool begun_ = false;
  Usage sum_;  // of those looked at
  std::optional<Usage> known_;
};

}  // namespace pool_server
