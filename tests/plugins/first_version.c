/* A handler of the first version of the interface, as it was then: served by every later server. */
#include <stddef.h>
#include <stdint.h>

struct first_task {
  const char *request;
  size_t request_size;
  int (*stop_requested)(const struct first_task *task);
  int (*append)(struct first_task *task, const char *bytes, size_t size);
};

struct first_handler {
  uint32_t abi;
  uint32_t flags;
  int (*create)(const char *configuration, void **instance, char *error, size_t error_size);
  int (*handle)(void *instance, struct first_task *task);
  void (*destroy)(void *instance);
};

static int handle(void *instance, struct first_task *task) {
  if (instance != NULL || task->stop_requested(task) || task->request_size == 4) return 2;
  task->append(task, task->request, task->request_size);
  return 0;
}

__attribute__((visibility("default"))) const struct first_handler pool_server_handler_entry = {
    .abi = 1, .handle = handle};
