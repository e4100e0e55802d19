#include "children/child_settings.h"

namespace pool_server {

Spawner::Spawned start_child(const Nursery& nursery, const ChildSettings& settings,
                             const std::string& label, const Spawner::Interruption* interruption) {
  const bool is_program = settings.keeper == nullptr;
  const Spawner& spawner = is_program ? nursery.spawner() : settings.keeper->spawner();
  return spawner.spawn({.kind = is_program ? SpawnKind::kProgram : SpawnKind::kHandler,
                        .words = settings.words,
                        .frames = settings.frames,
                        .label = label,
                        .grace = settings.grace,
                        .address_space = settings.address_space},
                       interruption);
}

}  // namespace pool_server
