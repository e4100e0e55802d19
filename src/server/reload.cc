#include "server/reload.h"

#include <string>
#include <type_traits>
#include <utility>

#include "server/log.h"

namespace pool_server {

// Else a reload could be left half done.
static_assert(std::is_nothrow_move_assignable_v<Options>);

void apply_reloadable(Options wanted, Options& running) {
  // Joined by hand: g++ -O3 warns of what it makes of fmt::join.
  std::string kept;
  bool several = false;
  // What the server runs with stays, and is told of if something else is wanted.
  const auto keep = [&kept, &several](const char* name, const auto& value, auto& other) {
    if (value == other) return;
    other = value;
    several = !kept.empty();
    kept.append(several ? ", " : "").append(name);
  };
  keep("listen", running.listen, wanted.listen);
  keep("monitor", running.monitor, wanted.monitor);
  keep("agent", running.agent, wanted.agent);
  keep("PORT", running.port, wanted.port);
  const bool mode_changes = running.in_processes() != wanted.in_processes();
  // One handler in processes may take the place of another, as may one program.
  if (!running.isolate) {
    keep("handler", running.handler, wanted.handler);
    keep("handler-option", running.handler_options, wanted.handler_options);
  }
  if (running.program.empty() != wanted.program.empty()) {
    keep("program", running.program, wanted.program);
  }
  keep("program-protocol", running.program_protocol, wanted.program_protocol);
  if (running.isolate != wanted.isolate && wanted.isolate_given) {
    keep("isolate", running.isolate, wanted.isolate);
  }
  wanted.isolate = running.isolate;
  if (mode_changes && !wanted.task_timeout_given) wanted.task_timeout = running.task_timeout;
  keep("max-reply", running.max_reply, wanted.max_reply);
  if (!kept.empty()) {
    log::write(LogLevel::kWarning, "setting-not-reloadable", {{"POOL_SERVER_SETTING", kept}},
               several ? fmt::format("new values of {} take a restart", kept)
                       : fmt::format("a new value of {} takes a restart", kept));
  }
  running = std::move(wanted);
}

}  // namespace pool_server
