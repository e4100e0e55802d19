#pragma once

namespace pool_server {

// Gives memory that was freed back to the system; malloc keeps much of it otherwise. Takes time in
// the number of free pieces.
void release_free_memory();

}  // namespace pool_server
