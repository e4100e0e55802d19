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
  keep("PORT", running.port, wanted.port);
  keep("handler", running.handler, wanted.handler);
  keep("handler-option", running.handler_options, wanted.handler_options);
  keep("max-reply", running.max_reply, wanted.max_reply);
  if (!kept.empty()) {
    log::write(LogLevel::kWarning, "setting-not-reloadable", {{"POOL_SERVER_SETTING", kept}},
               several ? fmt::format("new values of {} take a restart", kept)
                       : fmt::format("a new value of {} takes a restart", kept));
  }
  running = std::move(wanted);
}

}  // namespace pool_server
