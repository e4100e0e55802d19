// The design of the textbook: a thread with epoll, a queue under a mutex and a condition variable,
// workers, a list of what is done under another mutex, an eventfd. One allocation per request, one
// signal per push, one eventfd write per completion, one send per reply.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lines.h"
#include "server.h"

enum { kReceive = 64 * 1024, kEvents = 256 };

typedef struct Connection Connection;

typedef struct Task {
  struct Task* next;      // in the queue or among the completed
  struct Task* next_due;  // in the connection's order of requests
  Connection* connection;
  bool done;  // known to the main thread only
  size_t sent;
  size_t reply_length;
  char reply[kJobReplyMax];
  size_t length;
  char line[];
} Task;

// Main thread only; a worker does not look into it.
struct Connection {
  int fd;        // -1: closed
  bool ended;    // the client sends no more
  bool blocked;  // the client does not read: nothing is read from it either
  Partial partial;
  size_t working;  // tasks that have not come back: they keep the structure alive
  Task* first_due;
  Task* last_due;
  Connection* next_dead;
};

typedef struct {
  pthread_mutex_t mutex;
  Task* first;
  Task* last;
} TaskList;

static TaskList queue = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static pthread_cond_t queue_filled = PTHREAD_COND_INITIALIZER;
static TaskList completed = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static int completion_event;
static int epoll;
// Freed after the round: a later event of the same round may name one of them.
static Connection* dead;

static void append(TaskList* list, Task* task) {
  task->next = NULL;
  if (list->last != NULL) {
    list->last->next = task;
  } else {
    list->first = task;
  }
  list->last = task;
}

static void* work(void* unused) {
  for (;;) {
    pthread_mutex_lock(&queue.mutex);
    while (queue.first == NULL) pthread_cond_wait(&queue_filled, &queue.mutex);
    Task* task = queue.first;
    queue.first = task->next;
    if (queue.first == NULL) queue.last = NULL;
    pthread_mutex_unlock(&queue.mutex);

    task->reply_length = job_run(task->line, task->length, task->reply);

    pthread_mutex_lock(&completed.mutex);
    append(&completed, task);
    pthread_mutex_unlock(&completed.mutex);
    const uint64_t one = 1;
    job_require(write(completion_event, &one, sizeof one) == sizeof one, "eventfd");
  }
  return unused;
}

static void watch(Connection* connection, int operation) {
  struct epoll_event event = {.data.ptr = connection};
  event.events = connection->blocked ? EPOLLOUT : connection->ended ? 0 : EPOLLIN;
  job_require(epoll_ctl(epoll, operation, connection->fd, &event) == 0, "epoll_ctl");
}

static void free_later(Connection* connection) {
  connection->next_dead = dead;
  dead = connection;
}

static void close_connection(Connection* connection) {
  close(connection->fd);
  connection->fd = -1;
  partial_free(&connection->partial);
  for (Task* task = connection->first_due; task != NULL;) {
    Task* next = task->next_due;
    if (task->done) free(task);
    task = next;
  }
  if (connection->working == 0) free_later(connection);
}

// Sends each reply whose turn has come.
static void send_due(Connection* connection) {
  Task* task;
  while ((task = connection->first_due) != NULL && task->done) {
    const ssize_t sent = send(connection->fd, task->reply + task->sent,
                              task->reply_length - task->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return close_connection(connection);
    if (sent > 0) task->sent += (size_t)sent;
    if (task->sent < task->reply_length) {
      if (!connection->blocked) {
        connection->blocked = true;
        watch(connection, EPOLL_CTL_MOD);
      }
      return;
    }
    connection->first_due = task->next_due;
    free(task);
  }
  if (connection->ended && connection->first_due == NULL) return close_connection(connection);
  if (connection->blocked) {
    connection->blocked = false;
    watch(connection, EPOLL_CTL_MOD);
  }
}

static void on_line(void* context, const char* line, size_t length) {
  Connection* connection = context;
  Task* task = malloc(sizeof *task + length);
  job_require(task != NULL, "malloc");
  task->next_due = NULL;
  task->connection = connection;
  task->done = false;
  task->sent = 0;
  task->length = length;
  memcpy(task->line, line, length);
  if (connection->first_due == NULL) {
    connection->first_due = task;
  } else {
    connection->last_due->next_due = task;
  }
  connection->last_due = task;
  ++connection->working;

  pthread_mutex_lock(&queue.mutex);
  append(&queue, task);
  pthread_cond_signal(&queue_filled);
  pthread_mutex_unlock(&queue.mutex);
}

static void on_readable(Connection* connection) {
  static char received[kReceive];
  const ssize_t size = recv(connection->fd, received, sizeof received, 0);
  if (size > 0) {
    if (!split_lines(&connection->partial, received, (size_t)size, on_line, connection)) {
      close_connection(connection);
    }
  } else if (size == 0 && connection->first_due != NULL) {
    connection->ended = true;
    watch(connection, EPOLL_CTL_MOD);
  } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
    close_connection(connection);
  }
}

static void on_completed(void) {
  uint64_t count;
  job_require(read(completion_event, &count, sizeof count) == sizeof count, "eventfd");
  pthread_mutex_lock(&completed.mutex);
  Task* task = completed.first;
  completed.first = completed.last = NULL;
  pthread_mutex_unlock(&completed.mutex);
  while (task != NULL) {
    Task* next = task->next;
    Connection* connection = task->connection;
    --connection->working;
    task->done = true;
    if (connection->fd < 0) {
      free(task);
      if (connection->working == 0) free_later(connection);
    } else if (!connection->blocked) {
      send_due(connection);
    }
    task = next;
  }
}

static void accept_all(int listener) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    set_no_delay(fd);
    Connection* connection = calloc(1, sizeof *connection);
    job_require(connection != NULL, "calloc");
    connection->fd = fd;
    watch(connection, EPOLL_CTL_ADD);
  }
}

static void on_event(Connection* connection, unsigned events) {
  if (connection->fd < 0) return;
  if (events & EPOLLOUT) send_due(connection);
  if (connection->fd < 0) return;
  if (events & EPOLLIN) {
    on_readable(connection);
  } else if (events & (EPOLLERR | EPOLLHUP)) {
    close_connection(connection);
  }
}

int main(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv);
  raise_descriptor_limit();
  epoll = epoll_create1(EPOLL_CLOEXEC);
  completion_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  job_require(epoll >= 0 && completion_event >= 0, "epoll");
  Connection listening = {.fd = listen_on(arguments.port)};
  Connection completion = {.fd = completion_event};
  watch(&listening, EPOLL_CTL_ADD);
  watch(&completion, EPOLL_CTL_ADD);
  for (int i = 0; i < arguments.workers; ++i) {
    pthread_t thread;
    job_require(pthread_create(&thread, NULL, work, NULL) == 0, "pthread_create");
  }
  for (;;) {
    struct epoll_event events[kEvents];
    const int count = epoll_wait(epoll, events, kEvents, -1);
    for (int i = 0; i < count; ++i) {
      Connection* connection = events[i].data.ptr;
      if (connection == &listening) {
        accept_all(listening.fd);
      } else if (connection == &completion) {
        on_completed();
      } else {
        on_event(connection, events[i].events);
      }
    }
    while (dead != NULL) {
      Connection* next = dead->next_dead;
      free(dead);
      dead = next;
    }
  }
}
