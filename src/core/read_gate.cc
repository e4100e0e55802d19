#include "core/read_gate.h"

namespace pool_server {

bool may_admit(const ConnectionLoad& load, const ConnectionLimits& limits) {
  return load.unanswered < limits.max_unanswered && load.bytes_owed < limits.max_bytes_owed &&
         !load.no_room_to_admit;
}

bool may_read(const ConnectionLoad& load, const ConnectionLimits& limits) {
  return !load.end_of_input && !load.draining && !load.waiting_for_queue && !load.no_room_to_read &&
         may_admit(load, limits);
}

}  // namespace pool_server
