// What the C peers without a library share, and all C and C++ peers at their start.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "job.h"

enum { kBacklog = 4096 };

typedef struct {
  int port;
  int workers;
} Arguments;

static inline Arguments parse_arguments(int argc, char** argv) {
  Arguments arguments = {argc == 3 ? atoi(argv[1]) : 0, argc == 3 ? atoi(argv[2]) : 0};
  if (arguments.port < 1 || arguments.port > 65535 || arguments.workers < 1) {
    fprintf(stderr, "usage: %s PORT WORKERS\n", argv[0]);
    exit(2);
  }
  return arguments;
}

static inline void raise_descriptor_limit(void) {
  struct rlimit limit;
  job_require(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  job_require(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

static inline int listen_on(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  job_require(fd >= 0, "socket");
  const int on = 1;
  job_require(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0, "SO_REUSEADDR");
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons((unsigned short)port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  job_require(bind(fd, (struct sockaddr*)&address, sizeof address) == 0, "bind");
  job_require(listen(fd, kBacklog) == 0, "listen");
  return fd;
}

static inline void set_no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}
