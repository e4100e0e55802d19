#include "server/reload.h"

#include <type_traits>
#include <utility>

#include "server/log.h"

namespace pool_server {

namespace {

// Keeps what `running` has; says so if something else is wanted.
template <class Value>
void keep(std::string_view name, const Value& running, Value& wanted) {
  if (running == wanted) return;
  log::write(LogLevel::kWarning, "setting-not-reloadable",
             {{"POOL_SERVER_SETTING", std::string(name)}},
             fmt::format("a new value of {} takes a restart", name));
  wanted = running;
}

}  // namespace

// Else a reload could be left half done.
static_assert(std::is_nothrow_move_assignable_v<Options>);

void apply_reloadable(Options wanted, Options& running) {
  keep("listen", running.listen, wanted.listen);
  keep("PORT", running.port, wanted.port);
  keep("handler", running.handler, wanted.handler);
  keep("handler-option", running.handler_options, wanted.handler_options);
  keep("max-reply", running.max_reply, wanted.max_reply);
  running = std::move(wanted);
}

}  // namespace pool_server
