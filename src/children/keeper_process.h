#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace pool_server {

// The life of a nursery whose children run a handler: it loads the one that `words` name, the rest
// of them being its options, and then does as run_nursery(). What `create` makes for all workers is
// in the memory of all children, which is shared until one of them changes it. In a process just
// forked by `parent`; `kept`: control, news, and where to report. Never returns.
[[noreturn]] void run_keeper(const std::vector<std::string>& words, std::size_t max_reply,
                             const std::array<int, 3>& kept, int error, pid_t parent);

}  // namespace pool_server
