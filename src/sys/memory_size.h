#pragma once

#include <cstddef>
#include <string>

namespace pool_server {

// The memory that this process may use, in bytes: that of the machine, or less where a control
// group above it, as far as it is visible from here, sets a limit (memory.max of cgroup v2).
std::size_t usable_memory();

// The lowest memory.max of the group that the text of /proc/self/cgroup names and of those above
// it, below `root` (the mount point of cgroup v2); SIZE_MAX: no limit, or it cannot be told.
std::size_t group_memory_limit(const std::string& cgroup_text, const std::string& root);

}  // namespace pool_server
