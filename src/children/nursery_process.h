#pragma once

#include "core/handler.h"
#include "sys/unique_fd.h"

namespace pool_server {

// The life of the nursery, see nursery.h: until `control` ends, and then until there is no child
// left. Calls _exit(2) and never returns. In a process just forked, with one thread; what it may
// have inherited and does not need is closed first.
[[noreturn]] void run_nursery(UniqueFd control, UniqueFd news, int parent);

// The same, of a process whose control and news are at kFirstGiven. `module`: what its children
// run; null: they are programs and keepers. Returns when there are none any more.
void look_after_children(HandlerModule* module);

}  // namespace pool_server
