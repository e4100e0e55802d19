#include "children/keeper.h"

#include <stdexcept>
#include <system_error>
#include <utility>

#include "handlers/registry.h"
#include "sys/packet.h"

namespace pool_server {

namespace {

// µs, after the grace that its children have.
constexpr TimeUs kMargin = 2'000'000;

}  // namespace

Keeper::Keeper(const Nursery& nursery, const Options& options) {
  PacketPair control = PacketPair::make();
  ChildStart start{.kind = SpawnKind::kKeeper,
                   .words = {options.handler},
                   .label = "handler",
                   .grace = options.kill_grace + kMargin,
                   .max_reply = options.max_reply};
  start.words.insert(start.words.end(), options.handler_options.begin(),
                     options.handler_options.end());
  try {
    begun_ = nursery.spawner().begin(start, {control.other.get()});
  } catch (const std::system_error& fault) {
    throw std::system_error(fault.code(), "cannot start a process");
  }
  spawner_ = std::make_unique<Spawner>(std::move(control.one));
}

void Keeper::finish() {
  (void)wait_readable(begun_.report.get(), kForEver);
  const StartResult result = take_start_report(begun_.report.get());
  if (result.ended) throw std::runtime_error("the process that loads the handler has died of it");
  if (result.kind == StartReport::Kind::kConfiguration) throw ConfigurationError(result.fault);
  if (!result.fault.empty()) throw std::runtime_error(result.fault);
}

}  // namespace pool_server
