#include "sys/memory.h"

#include <malloc.h>

namespace pool_server {

void release_free_memory() {
  (void)::malloc_trim(0);
}

}  // namespace pool_server
