/* Built for a version of the interface to come, of which nothing but the number can be relied on. */
#include <stdint.h>

__attribute__((visibility("default"))) const uint32_t pool_server_handler_entry[] = {4711};
