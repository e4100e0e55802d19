/* The interface as C has it: no instances, no options; answers with the request, and logs it. */
#include <pool-server/handler.h>

static int handle(void *instance, struct pool_server_task *task) {
  if (instance != NULL) return POOL_SERVER_FAILED;
  task->log(task, POOL_SERVER_LOG_INFO, task->request, task->request_size);
  task->append(task, task->request, task->request_size);
  return POOL_SERVER_RESULT;
}

const struct pool_server_handler pool_server_handler_entry = {
    .abi = POOL_SERVER_HANDLER_ABI, .handle = handle};
