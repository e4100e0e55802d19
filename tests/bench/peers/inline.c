// The floor: one thread that reads, computes and answers on the spot. No hand-off, no queue; one
// receive and one send per connection and round.
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lines.h"
#include "server.h"

enum { kReceive = 64 * 1024, kEvents = 256 };

// All that an idle connection costs here: these few words, in a table by descriptor.
typedef struct {
  Partial partial;
  char* unsent;  // only while the client does not read
  size_t unsent_length;
  size_t sent;
} Connection;

static int epoll;
static Connection* connections;
static char received[kReceive];
// Room for the replies to one receive, were it all newlines. Pages never used are never there.
static char replies[(size_t)kReceive * kJobReplyMax];
static size_t replies_length;

static void watch(int fd, int operation, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  job_require(epoll_ctl(epoll, operation, fd, &event) == 0, "epoll_ctl");
}

static void accept_all(int listener) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    set_no_delay(fd);
    watch(fd, EPOLL_CTL_ADD, EPOLLIN);
  }
}

static void close_connection(int fd) {
  Connection* connection = &connections[fd];
  partial_free(&connection->partial);
  free(connection->unsent);
  memset(connection, 0, sizeof *connection);
  close(fd);
}

// How much went out; negative: the connection is lost.
static ssize_t send_some(int fd, const char* data, size_t size) {
  const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
  if (sent >= 0) return sent;
  return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static void answer(void* context, const char* line, size_t length) {
  (void)context;
  replies_length += job_run(line, length, replies + replies_length);
}

static void on_readable(int fd) {
  Connection* connection = &connections[fd];
  const ssize_t size = recv(fd, received, sizeof received, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return close_connection(fd);
  replies_length = 0;
  const bool fits = split_lines(&connection->partial, received, (size_t)size, answer, NULL);
  const ssize_t sent = replies_length > 0 ? send_some(fd, replies, replies_length) : 0;
  if (!fits || sent < 0) return close_connection(fd);
  const size_t rest = replies_length - (size_t)sent;
  if (rest == 0) return;
  connection->unsent = malloc(rest);
  job_require(connection->unsent != NULL, "malloc");
  memcpy(connection->unsent, replies + sent, rest);
  connection->unsent_length = rest;
  connection->sent = 0;
  // Who does not read is not read from.
  watch(fd, EPOLL_CTL_MOD, EPOLLOUT);
}

static void on_writable(int fd) {
  Connection* connection = &connections[fd];
  const ssize_t sent = send_some(fd, connection->unsent + connection->sent,
                                 connection->unsent_length - connection->sent);
  if (sent < 0) return close_connection(fd);
  connection->sent += (size_t)sent;
  if (connection->sent < connection->unsent_length) return;
  free(connection->unsent);
  connection->unsent = NULL;
  watch(fd, EPOLL_CTL_MOD, EPOLLIN);
}

int main(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv);
  raise_descriptor_limit();
  struct rlimit limit;
  job_require(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
  connections = calloc(limit.rlim_cur, sizeof *connections);
  job_require(connections != NULL, "calloc");
  epoll = epoll_create1(EPOLL_CLOEXEC);
  job_require(epoll >= 0, "epoll_create1");
  const int listener = listen_on(arguments.port);
  watch(listener, EPOLL_CTL_ADD, EPOLLIN);
  for (;;) {
    struct epoll_event events[kEvents];
    const int count = epoll_wait(epoll, events, kEvents, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        accept_all(listener);
      } else if (connections[fd].unsent != NULL) {
        on_writable(fd);
      } else {
        on_readable(fd);
      }
    }
  }
}
