#include "sys/memory_size.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "sys/text_file.h"

namespace pool_server {

std::size_t group_memory_limit(const std::string& cgroup_text, const std::string& root) {
  std::size_t lowest = SIZE_MAX;
  std::istringstream lines(cgroup_text);
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view kV2 = "0::";
    if (!line.starts_with(kV2)) continue;
    // The group's own limit, and those of all above it, the topmost that is visible included: in a
    // container that is the container's.
    for (std::string group = line.substr(kV2.size());;) {
      std::ifstream file(root + (group == "/" ? "" : group) + "/memory.max");
      std::size_t limit = 0;  // "max" is no number
      if (file >> limit) lowest = std::min(lowest, limit);
      const std::size_t slash = group.rfind('/');
      if (group.empty() || slash == std::string::npos) break;
      group.erase(slash);
    }
  }
  return lowest;
}

std::size_t usable_memory() {
  struct sysinfo machine {};
  std::size_t bytes = SIZE_MAX;
  if (::sysinfo(&machine) == 0) {
    bytes = static_cast<std::size_t>(machine.totalram) * machine.mem_unit;
  }
  constexpr std::size_t kMostOfGroups = 1 << 20;
  std::string groups;
  try {
    groups = read_text_file("/proc/self/cgroup", kMostOfGroups);
  } catch (const std::runtime_error&) {
    // No limit that can be told.
  }
  return std::min(bytes, group_memory_limit(groups, "/sys/fs/cgroup"));
}

}  // namespace pool_server
