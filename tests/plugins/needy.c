/* A handler that needs a library of its own, and keeps a file open. */

#include <fcntl.h>
#include <pool-server/handler.h>
#include <string.h>

extern const char needed_text[];

static int create(const char* configuration, void** instance, char* error, size_t size) {
  (void)configuration, (void)error, (void)size;
  static int file;
  file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
  *instance = &file;
  return 0;
}

static int handle(void* instance, struct pool_server_task* task) {
  /* It is open in whatever process this runs in. */
  if (fcntl(*(int*)instance, F_GETFD) < 0) return POOL_SERVER_FAILED;
  task->append(task, needed_text, strlen(needed_text));
  return POOL_SERVER_RESULT;
}

const struct pool_server_handler pool_server_handler_entry = {
    .abi = POOL_SERVER_HANDLER_ABI, .flags = POOL_SERVER_SHARED, .create = create, .handle = handle};
