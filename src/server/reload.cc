#include "server/reload.h"

#include "server/log.h"

namespace pool_server {

namespace {

// Keeps what `running` has; says so if something else is wanted.
template <class Value>
void keep(std::string_view name, const Value& running, Value& wanted) {
  if (running == wanted) return;
  wanted = running;
  log::write(LogLevel::kWarning, "setting-not-reloadable",
             {{"POOL_SERVER_SETTING", std::string(name)}},
             fmt::format("a new value of {} takes a restart", name));
}

}  // namespace

void apply_reloadable(const Options& wanted, Options& running) {
  Options next = wanted;
  keep("listen", running.listen, next.listen);
  keep("PORT", running.port, next.port);
  keep("handler", running.handler, next.handler);
  keep("handler-option", running.handler_options, next.handler_options);
  keep("max-reply", running.max_reply, next.max_reply);
  running = next;
}

}  // namespace pool_server
