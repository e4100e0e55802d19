#include "server/reload.h"

#include <string>
#include <vector>

#include "server/log.h"

namespace pool_server {

void apply_reloadable(const Options& wanted, Options& running) {
  Options next = wanted;
  std::vector<std::string> kept;
  // What the server runs with stays, and is told of if something else is wanted.
  const auto keep = [&kept](const char* name, const auto& value, auto& other) {
    if (value == other) return;
    other = value;
    kept.emplace_back(name);
  };
  keep("listen", running.listen, next.listen);
  keep("PORT", running.port, next.port);
  keep("handler", running.handler, next.handler);
  keep("handler-option", running.handler_options, next.handler_options);
  keep("max-reply", running.max_reply, next.max_reply);
  running = next;
  if (kept.empty()) return;
  const std::string names = fmt::format("{}", fmt::join(kept, ", "));
  log::write(LogLevel::kWarning, "setting-not-reloadable", {{"POOL_SERVER_SETTING", names}},
             kept.size() == 1 ? fmt::format("a new value of {} takes a restart", names)
                              : fmt::format("new values of {} take a restart", names));
}

}  // namespace pool_server
