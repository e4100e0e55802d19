// libuv: uv_read_start, uv_queue_work for each line, and replies that came in one turn of the loop
// written in one go after it (uv_check_t).
#include <signal.h>
#include <uv.h>

#include "lines.h"
#include "server.h"

// Requests of one connection at work, beyond which it is not read from.
enum { kMaxPending = 1024, kReceive = 64 * 1024 };

typedef struct Connection Connection;

typedef struct Task {
  uv_work_t work;
  struct Task* next;  // in the connection's order of requests
  Connection* connection;
  bool done;
  size_t reply_length;
  char reply[kJobReplyMax];
  size_t length;
  char line[];
} Task;

struct Connection {
  uv_tcp_t tcp;
  int references;  // the handle, each task at work, the list of those to flush
  size_t pending;
  bool ended;   // the client sends no more
  bool paused;  // not read from: too much is pending
  bool writing;
  bool to_flush;
  Connection* next_to_flush;
  Partial partial;
  Task* first;
  Task* last;
};

typedef struct {
  uv_write_t request;
  char data[];
} Write;

static uv_loop_t* loop;
static Connection* to_flush;

static void uv_require(int status, const char* what) {
  if (status >= 0) return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
  exit(1);
}

static void release(Connection* connection) {
  if (--connection->references == 0) free(connection);
}

static void on_closed(uv_handle_t* handle) {
  release(handle->data);
}

static bool is_closing(Connection* connection) {
  return uv_is_closing((uv_handle_t*)&connection->tcp);
}

static void close_connection(Connection* connection) {
  if (is_closing(connection)) return;
  partial_free(&connection->partial);
  // What no thread has begun need not be done. A task at work is freed when it comes back.
  for (Task* task = connection->first; task != NULL;) {
    Task* next = task->next;
    if (task->done) {
      free(task);
    } else {
      uv_cancel((uv_req_t*)&task->work);
    }
    task = next;
  }
  connection->first = NULL;
  uv_close((uv_handle_t*)&connection->tcp, on_closed);
}

static void flush_later(Connection* connection) {
  if (connection->to_flush) return;
  connection->to_flush = true;
  ++connection->references;
  connection->next_to_flush = to_flush;
  to_flush = connection;
}

static void on_written(uv_write_t* request, int status) {
  Connection* connection = request->handle->data;
  free(request->data);
  connection->writing = false;
  if (status < 0) return close_connection(connection);
  flush_later(connection);
}

static void write_all(Connection* connection, char* data, size_t length) {
  uv_stream_t* stream = (uv_stream_t*)&connection->tcp;
  const uv_buf_t buffer = uv_buf_init(data, (unsigned)length);
  int sent = uv_try_write(stream, &buffer, 1);
  if (sent == UV_EAGAIN) sent = 0;
  if (sent < 0) return close_connection(connection);
  if ((size_t)sent == length) return;
  const size_t rest = length - (size_t)sent;
  Write* write = malloc(sizeof *write + rest);
  job_require(write != NULL, "malloc");
  memcpy(write->data, data + sent, rest);
  write->request.data = write;
  const uv_buf_t remainder = uv_buf_init(write->data, (unsigned)rest);
  uv_require(uv_write(&write->request, stream, &remainder, 1, on_written), "uv_write");
  connection->writing = true;
}

static void start_reading(Connection* connection);

static void flush(Connection* connection) {
  static char replies[kMaxPending * kJobReplyMax];
  while (!is_closing(connection) && !connection->writing && connection->first != NULL &&
         connection->first->done) {
    size_t length = 0;
    Task* task;
    while ((task = connection->first) != NULL && task->done &&
           length + task->reply_length <= sizeof replies) {
      memcpy(replies + length, task->reply, task->reply_length);
      length += task->reply_length;
      connection->first = task->next;
      --connection->pending;
      free(task);
    }
    write_all(connection, replies, length);
  }
  if (is_closing(connection)) return;
  if (connection->ended) {
    if (connection->pending == 0 && !connection->writing) close_connection(connection);
  } else if (connection->paused && connection->pending < kMaxPending) {
    start_reading(connection);
  }
}

// Runs after the loop has handled all that the system reported, completed work included.
static void on_check(uv_check_t* check) {
  (void)check;
  while (to_flush != NULL) {
    Connection* connection = to_flush;
    to_flush = connection->next_to_flush;
    connection->to_flush = false;
    flush(connection);
    release(connection);
  }
}

static void on_work(uv_work_t* work) {
  Task* task = work->data;
  task->reply_length = job_run(task->line, task->length, task->reply);
}

static void on_worked(uv_work_t* work, int status) {
  (void)status;
  Task* task = work->data;
  Connection* connection = task->connection;
  if (is_closing(connection)) {
    free(task);
  } else {
    task->done = true;
    if (task == connection->first) flush_later(connection);
  }
  release(connection);
}

static void on_line(void* context, const char* line, size_t length) {
  Connection* connection = context;
  Task* task = malloc(sizeof *task + length);
  job_require(task != NULL, "malloc");
  task->work.data = task;
  task->next = NULL;
  task->connection = connection;
  task->done = false;
  task->length = length;
  memcpy(task->line, line, length);
  if (connection->first == NULL) {
    connection->first = task;
  } else {
    connection->last->next = task;
  }
  connection->last = task;
  ++connection->pending;
  ++connection->references;
  uv_require(uv_queue_work(loop, &task->work, on_work, on_worked), "uv_queue_work");
}

static void on_allocate(uv_handle_t* handle, size_t suggested, uv_buf_t* buffer) {
  // One for all: it is used up before the next is asked for.
  static char received[kReceive];
  (void)handle, (void)suggested;
  *buffer = uv_buf_init(received, sizeof received);
}

static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
  Connection* connection = stream->data;
  if (size == UV_EOF) {
    uv_read_stop(stream);
    connection->ended = true;
    flush_later(connection);
  } else if (size < 0 ||
             !split_lines(&connection->partial, buffer->base, (size_t)size, on_line, connection)) {
    close_connection(connection);
  } else if (connection->pending >= kMaxPending) {
    uv_read_stop(stream);
    connection->paused = true;
  }
}

static void start_reading(Connection* connection) {
  connection->paused = false;
  uv_require(uv_read_start((uv_stream_t*)&connection->tcp, on_allocate, on_read), "uv_read_start");
}

static void on_connection(uv_stream_t* listener, int status) {
  if (status < 0) return;
  Connection* connection = calloc(1, sizeof *connection);
  job_require(connection != NULL, "calloc");
  uv_require(uv_tcp_init(loop, &connection->tcp), "uv_tcp_init");
  connection->tcp.data = connection;
  connection->references = 1;
  if (uv_accept(listener, (uv_stream_t*)&connection->tcp) < 0) {
    close_connection(connection);
    return;
  }
  uv_tcp_nodelay(&connection->tcp, 1);
  start_reading(connection);
}

int main(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv);
  raise_descriptor_limit();
  signal(SIGPIPE, SIG_IGN);
  setenv("UV_THREADPOOL_SIZE", argv[2], 1);  // read at the first uv_queue_work

  loop = uv_default_loop();
  uv_check_t check;
  uv_require(uv_check_init(loop, &check), "uv_check_init");
  uv_require(uv_check_start(&check, on_check), "uv_check_start");
  uv_tcp_t listener;
  struct sockaddr_in address;
  uv_require(uv_tcp_init(loop, &listener), "uv_tcp_init");
  uv_require(uv_ip4_addr("127.0.0.1", arguments.port, &address), "uv_ip4_addr");
  // libuv sets SO_REUSEADDR itself.
  uv_require(uv_tcp_bind(&listener, (struct sockaddr*)&address, 0), "bind");
  uv_require(uv_listen((uv_stream_t*)&listener, kBacklog, on_connection), "listen");
  return uv_run(loop, UV_RUN_DEFAULT);
}
