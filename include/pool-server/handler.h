/* The interface between pool-server and a handler: a shared object that does the work for requests.
 *
 * Plain C, for any language that can export a C symbol; handler.hpp wraps it for C++. The manual
 * page is pool-server-handler(3).
 *
 * A handler exports one constant, pool_server_handler_entry. The server loads the object, checks
 * `abi`, and calls
 *
 *   create   before it says that it is ready, on its main thread: once where POOL_SERVER_SHARED is
 *            set, else once for each worker thread, and again when the pool grows
 *   handle   for each request, on a worker thread
 *   destroy  for each instance, on its main thread, after its last handle
 *
 * Threads: an instance that is not shared is in one call at a time. A shared one is called by all
 * workers at once and guards what it changes. What instances share (globals) is the handler's to
 * guard in any case.
 *
 * Nothing may be thrown or longjmp'ed out of these functions. */

#ifndef POOL_SERVER_HANDLER_H
#define POOL_SERVER_HANDLER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of everything in this file. It changes with any change to what is below, and with no
 * other. The server serves handlers of this version and of those before it, and refuses others.
 *   1   without pool_server_task.log, the last of its members */
#define POOL_SERVER_HANDLER_ABI 2u

/* flags: one instance for all workers. */
#define POOL_SERVER_SHARED 1u

/* What handle returns. */
#define POOL_SERVER_RESULT 0 /* the reply is "result: " and what was appended */
#define POOL_SERVER_ERROR 1  /* the reply is "ERROR: " and what was appended */
#define POOL_SERVER_FAILED 2 /* the reply is "ERROR: internal error" */

/* What log takes as its level: those of --log-level, and the reason of POOL_SERVER_FAILED. */
#define POOL_SERVER_LOG_DEBUG 0
#define POOL_SERVER_LOG_INFO 1
#define POOL_SERVER_LOG_WARNING 2
#define POOL_SERVER_LOG_ERROR 3
#define POOL_SERVER_LOG_FAILURE 4

/* One request. It lives until handle returns; all of it belongs to the thread that handle runs on.
 */
struct pool_server_task {
  /* The line without its LF and one CR at its end: any bytes but LF, and at least one. (An empty
   * line, and the line STATS, the server answers itself.) No NUL follows it. */
  const char* request;
  size_t request_size;

  /* Not 0: nobody waits for the reply any more (time-out, client gone, stop); return soon. To be
   * asked every few milliseconds; costs less than a microsecond. */
  int (*stop_requested)(const struct pool_server_task* task);

  /* Appends to the reply. Not 0: the reply has become longer than --max-reply or memory is out; the
   * client will be told so whatever handle returns.
   * The reply may hold no control bytes (below 0x20, 0x7f): it is refused as a whole if it does. */
  int (*append)(struct pool_server_task* task, const char* bytes, size_t size);

  /* Since version 2. A line for the server's log, which tells it with the worker, the task and the
   * connection when handle has returned; never for the client. Control bytes in it become '?'. Of
   * one task 8 lines and 1 KiB are kept, what is over is counted. A crash tells the last line. */
  void (*log)(struct pool_server_task* task, int level, const char* text, size_t size);
};

struct pool_server_handler {
  uint32_t abi;   /* POOL_SERVER_HANDLER_ABI */
  uint32_t flags; /* 0 or POOL_SERVER_SHARED */

  /* `configuration` has a line "key=value\n" for each --handler-option, in their order; it is gone
   * after the call. Stores the instance, which may be null, and returns 0; or writes why not as a
   * string to `error`, of which there are `error_size` bytes, and returns something else: the
   * server then does not start. May be null: there are no instances, and no options. */
  int (*create)(const char* configuration, void** instance, char* error, size_t error_size);

  int (*handle)(void* instance, struct pool_server_task* task);

  /* May be null. */
  void (*destroy)(void* instance);
};

__attribute__((
    visibility("default"))) extern const struct pool_server_handler pool_server_handler_entry;

#ifdef __cplusplus
}
#endif

#endif
