/* Preloaded, it counts the calls that a server makes into libc, and has those fail that it is told
 * to.
 *
 * FAILING_CALLS names a file that is shared with who tells it (struct control, see
 * tests/faults/calls.py), and FAILING_CALLS_IN the program that is meant: what that executes, and
 * it inherits all of this, is left alone. A call is known by who makes it, its name, and what kind
 * of descriptor it is about. What libc calls within itself is not seen: malloc's mmap,
 * pthread_create's clone, fopen's open are seen as malloc, pthread_create and fopen. */
#define _GNU_SOURCE
/* So that what is defined here as open() is open64(); see ALSO() for the other. */
#undef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

/* clang-format off */
#define CALLS(X) \
  X(accept4) X(access) X(bind) X(close) X(close_range) X(connect) X(dup2) X(dup3) \
  X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(eventfd) X(execv) X(fcntl_dupfd) X(fcntl_seals) \
  X(fcntl_flags) X(fopen) X(fork) X(fstat) X(getpeername) X(getrlimit) X(getsockname) \
  X(getsockopt) X(ioctl) X(kill) X(listen) X(lstat) X(madvise) X(malloc) X(memfd_create) \
  X(mmap) X(nanosleep) X(open) X(opendir) X(pipe2) X(poll) X(ppoll) X(pread) X(pthread_create) \
  X(pwrite) X(read) X(readlink) X(recv) X(recvmsg) X(send) X(sendmmsg) X(sendmsg) X(sendto) \
  X(setrlimit) X(setsid) X(setsockopt) X(shutdown) X(sigaltstack) X(signalfd) X(socket) \
  X(socketpair) X(stat) X(unlink) X(waitid) X(waitpid) X(write) X(writev)
/* clang-format on */

enum call {
#define X(name) CALL_##name,
  CALLS(X)
#undef X
  CALL_COUNT,
  CALLS_AT_MOST = 64
};
_Static_assert(CALL_COUNT < CALLS_AT_MOST, "there is room for all");

static const char* const call_names[CALL_COUNT] = {
#define X(name) #name,
    CALLS(X)
#undef X
};

enum about {
  NOTHING,
  LOG,
  STREAM,
  LISTENER,
  CHANNEL,
  PACKETS,
  DATAGRAMS,
  PIPE,
  FILE_,
  EVENTFD,
  SIGNALFD,
  EPOLL,
  OTHER,
  ABOUT_COUNT
};

enum who { LOOP, WORKERS, FIRST_CHILD, CHILDREN, GRANDCHILDREN, WHO_COUNT };

enum { SHORT = -1 };

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* place, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);

struct control {
  int32_t counting;
  int32_t who; /* the rule: which call fails, -1: none */
  int32_t call;
  int32_t about;
  int32_t error;   /* its errno, or SHORT */
  uint32_t first;  /* the number of the one that fails, from 1 */
  int32_t lasting; /* and all after it? */
  uint32_t failed;
  uint32_t counts[WHO_COUNT][CALLS_AT_MOST][ABOUT_COUNT];
  char names[CALLS_AT_MOST][24];
};

static struct control* control;
static int depth; /* of forks */
static __thread int is_worker;
static __thread int is_inside;
static void (*reals[CALL_COUNT])(void);

static void (*real(enum call call, const char* name))(void) {
  if (reals[call] == NULL) {
    void* found = dlsym(RTLD_NEXT, name);
    memcpy(&reals[call], &found, sizeof found);
  }
  return reals[call];
}
#define REAL(name) ((__typeof__(&name))real(CALL_##name, #name))
#define REAL64(name) ((__typeof__(&name))real(CALL_##name, #name "64"))

__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("FAILING_CALLS");
  const char* program = getenv("FAILING_CALLS_IN");
  char self[4096];
  const ssize_t length = path == NULL || program == NULL
                             ? -1
                             : syscall(SYS_readlink, "/proc/self/exe", self, sizeof self - 1);
  if (length < 0) return;
  self[length] = '\0';
  if (strcmp(self, program) != 0) return;
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  void* place =
      (void*)syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (place == MAP_FAILED) return;
  struct control* found = place;
  for (int call = 0; call < CALL_COUNT; ++call)
    strncpy(found->names[call], call_names[call], sizeof found->names[call] - 1);
  control = found;
}

static enum about about_socket(int fd) {
  int value = 0;
  socklen_t size = sizeof value;
  if (syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &value, &size) != 0) return OTHER;
  if (value == SOCK_DGRAM) return DATAGRAMS;
  if (value != SOCK_STREAM) return PACKETS;
  if (syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value != 0)
    return LISTENER;
  struct sockaddr_un name;
  socklen_t length = sizeof name;
  if (syscall(SYS_getsockname, fd, &name, &length) != 0) return OTHER;
  return name.sun_family == AF_UNIX && length <= sizeof name.sun_family ? CHANNEL : STREAM;
}

static enum about about(int fd) {
  if (fd < 0) return NOTHING;
  if (fd == 2) return LOG;
  struct stat found;
  if (syscall(SYS_newfstatat, fd, "", &found, AT_EMPTY_PATH) != 0) return OTHER;
  switch (found.st_mode & S_IFMT) {
    case S_IFSOCK:
      return about_socket(fd);
    case S_IFIFO:
      return PIPE;
    case S_IFREG:
      return FILE_;
    default:
      break;
  }
  char path[32];
  char target[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const ssize_t length = syscall(SYS_readlink, path, target, sizeof target - 1);
  if (length < 0) return OTHER;
  target[length] = '\0';
  if (strstr(target, "[eventfd]") != NULL) return EVENTFD;
  if (strstr(target, "[signalfd]") != NULL) return SIGNALFD;
  return strstr(target, "[eventpoll]") != NULL ? EPOLL : OTHER;
}

/* Whether, and how, this call is to fail: 0, SHORT or an errno. */
static int fault(enum call call, int fd) {
  struct control* told = control;
  if (told == NULL || !__atomic_load_n(&told->counting, __ATOMIC_ACQUIRE) || is_inside) return 0;
  const int before = errno;
  is_inside = 1;
  const enum about what = about(fd);
  is_inside = 0;
  errno = before;
  const enum who who = depth > 0   ? (enum who)(WORKERS + (depth > 3 ? 3 : depth))
                       : is_worker ? WORKERS
                                   : LOOP;
  const uint32_t number = __atomic_add_fetch(&told->counts[who][call][what], 1, __ATOMIC_RELAXED);
  if (told->call != (int)call || told->about != (int)what || told->who != (int)who) return 0;
  return number == told->first || (told->lasting && number > told->first) ? told->error : 0;
}

static void note(void) {
  __atomic_add_fetch(&control->failed, 1, __ATOMIC_RELEASE);
}

static int fails(enum call call, int fd) {
  const int error = fault(call, fd);
  if (error <= 0) return 0;
  note();
  errno = error;
  return 1;
}

/* As fails(); of what may be read or written in part, `size` is made small. */
static int fails_or_is_short(enum call call, int fd, size_t* size) {
  const int error = fault(call, fd);
  if (error == SHORT) {
    if (*size > 1) {
      note();
      *size = 1;
    }
    return 0;
  }
  if (error <= 0) return 0;
  note();
  errno = error;
  return 1;
}

/* The usual form: it says -1 when it fails. */
#define WRAP_AS(real, result, name, parameters, arguments, fd) \
  EXPORTED result name parameters {                            \
    if (fails(CALL_##name, fd)) return -1;                     \
    return real(name) arguments;                               \
  }
#define WRAP(...) WRAP_AS(REAL, __VA_ARGS__)
#define WRAP64(...) WRAP_AS(REAL64, __VA_ARGS__)
/* The same under the name that programs without large files call, where both are the same. */
#define ALSO(name) \
  __asm__(".globl " #name "\n.type " #name ",%function\n.set " #name "," #name "64");

WRAP(int, accept4, (int fd, __SOCKADDR_ARG name, socklen_t* length, int flags),
     (fd, name, length, flags), fd)
WRAP(int, access, (const char* path, int mode), (path, mode), -1)
WRAP(int, bind, (int fd, __CONST_SOCKADDR_ARG name, socklen_t length), (fd, name, length), fd)
WRAP(int, close_range, (unsigned first, unsigned last, int flags), (first, last, flags), -1)
WRAP(int, connect, (int fd, __CONST_SOCKADDR_ARG name, socklen_t length), (fd, name, length), fd)
WRAP(int, dup2, (int fd, int to), (fd, to), fd)
WRAP(int, dup3, (int fd, int to, int flags), (fd, to, flags), fd)
WRAP(int, epoll_create1, (int flags), (flags), -1)
WRAP(int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event* event),
     (epoll, operation, fd, event), fd)
WRAP(int, epoll_wait, (int epoll, struct epoll_event* events, int most, int timeout),
     (epoll, events, most, timeout), epoll)
WRAP(int, eventfd, (unsigned value, int flags), (value, flags), -1)
WRAP(int, execv, (const char* path, char* const words[]), (path, words), -1)
WRAP64(int, fstat, (int fd, struct stat* found), (fd, found), fd)
WRAP(int, getpeername, (int fd, __SOCKADDR_ARG name, socklen_t* length), (fd, name, length), fd)
WRAP64(int, getrlimit, (__rlimit_resource_t what, struct rlimit* limit), (what, limit), -1)
WRAP(int, getsockname, (int fd, __SOCKADDR_ARG name, socklen_t* length), (fd, name, length), fd)
WRAP(int, getsockopt, (int fd, int level, int name, void* value, socklen_t* size),
     (fd, level, name, value, size), fd)
WRAP(int, kill, (pid_t pid, int number), (pid, number), -1)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), fd)
WRAP64(int, lstat, (const char* path, struct stat* found), (path, found), -1)
WRAP(int, madvise, (void* place, size_t size, int advice), (place, size, advice), -1)
WRAP(int, memfd_create, (const char* name, unsigned flags), (name, flags), -1)
WRAP(int, nanosleep, (const struct timespec* time, struct timespec* left), (time, left), -1)
WRAP(int, pipe2, (int ends[2], int flags), (ends, flags), -1)
WRAP(int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout), -1)
WRAP(int, ppoll,
     (struct pollfd * fds, nfds_t count, const struct timespec* timeout, const sigset_t* mask),
     (fds, count, timeout, mask), -1)
WRAP(ssize_t, readlink, (const char* path, char* target, size_t size), (path, target, size), -1)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr* message, int flags), (fd, message, flags), fd)
WRAP(int, sendmmsg, (int fd, struct mmsghdr* messages, unsigned count, int flags),
     (fd, messages, count, flags), fd)
WRAP(ssize_t, sendto,
     (int fd, const void* data, size_t size, int flags, __CONST_SOCKADDR_ARG name,
      socklen_t length),
     (fd, data, size, flags, name, length), fd)
WRAP64(int, setrlimit, (__rlimit_resource_t what, const struct rlimit* limit), (what, limit), -1)
WRAP(pid_t, setsid, (void), (), -1)
WRAP(int, setsockopt, (int fd, int level, int name, const void* value, socklen_t size),
     (fd, level, name, value, size), fd)
WRAP(int, shutdown, (int fd, int how), (fd, how), fd)
WRAP(int, sigaltstack, (const stack_t* stack, stack_t* before), (stack, before), -1)
WRAP(int, signalfd, (int fd, const sigset_t* mask, int flags), (fd, mask, flags), -1)
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
WRAP(int, socketpair, (int domain, int type, int protocol, int ends[2]),
     (domain, type, protocol, ends), -1)
WRAP64(int, stat, (const char* path, struct stat* found), (path, found), -1)
WRAP(int, unlink, (const char* path), (path), -1)
WRAP(int, waitid, (idtype_t type, id_t id, siginfo_t* found, int options),
     (type, id, found, options), -1)
WRAP(pid_t, waitpid, (pid_t pid, int* status, int options), (pid, status, options), -1)
ALSO(stat)
ALSO(lstat)
ALSO(fstat)
ALSO(getrlimit)
ALSO(setrlimit)

/* What may be done in part. */
#define WRAP_PART(real, name, parameters, arguments, fd)      \
  EXPORTED ssize_t name parameters {                          \
    if (fails_or_is_short(CALL_##name, fd, &size)) return -1; \
    return real(name) arguments;                              \
  }
WRAP_PART(REAL64, pread, (int fd, void* data, size_t size, off_t offset), (fd, data, size, offset),
          fd)
WRAP_PART(REAL64, pwrite, (int fd, const void* data, size_t size, off_t offset),
          (fd, data, size, offset), fd)
WRAP_PART(REAL, read, (int fd, void* data, size_t size), (fd, data, size), fd)
WRAP_PART(REAL, recv, (int fd, void* data, size_t size, int flags), (fd, data, size, flags), fd)
WRAP_PART(REAL, send, (int fd, const void* data, size_t size, int flags), (fd, data, size, flags),
          fd)
WRAP_PART(REAL, write, (int fd, const void* data, size_t size), (fd, data, size), fd)
ALSO(pread)
ALSO(pwrite)

/* Of what comes in several pieces, a part is the first byte of the first one that has any. */
static int first_byte(const struct iovec* pieces, size_t count, size_t size, struct iovec* piece) {
  size_t all = 0;
  for (size_t i = 0; i < count; ++i) all += pieces[i].iov_len;
  if (size >= all) return 0;
  while (pieces->iov_len == 0) ++pieces;
  *piece = (struct iovec){pieces->iov_base, size};
  return 1;
}

EXPORTED ssize_t writev(int fd, const struct iovec* pieces, int count) {
  size_t size = SIZE_MAX;
  struct iovec piece;
  if (fails_or_is_short(CALL_writev, fd, &size)) return -1;
  if (first_byte(pieces, (size_t)count, size, &piece)) return REAL(writev)(fd, &piece, 1);
  return REAL(writev)(fd, pieces, count);
}

EXPORTED ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
  size_t size = SIZE_MAX;
  struct iovec piece;
  if (fails_or_is_short(CALL_sendmsg, fd, &size)) return -1;
  struct msghdr changed = *message;
  if (first_byte(message->msg_iov, message->msg_iovlen, size, &piece)) {
    changed.msg_iov = &piece;
    changed.msg_iovlen = 1;
  }
  return REAL(sendmsg)(fd, &changed, flags);
}

/* Closed it is in any case, as Linux does. */
EXPORTED int close(int fd) {
  const int failed = fails(CALL_close, fd);
  const int error = errno;
  const int result = REAL(close)(fd);
  if (!failed) return result;
  errno = error;
  return -1;
}

EXPORTED void* mmap(void* place, size_t size, int access, int flags, int fd, off_t offset) {
  if (fails(CALL_mmap, fd)) return MAP_FAILED;
  return REAL64(mmap)(place, size, access, flags, fd, offset);
}
ALSO(mmap)

EXPORTED FILE* fopen(const char* path, const char* mode) {
  return fails(CALL_fopen, -1) ? NULL : REAL64(fopen)(path, mode);
}
ALSO(fopen)

EXPORTED DIR* opendir(const char* path) {
  return fails(CALL_opendir, -1) ? NULL : REAL(opendir)(path);
}

EXPORTED int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  return fails(CALL_open, -1) ? -1 : REAL64(open)(path, flags, mode);
}
ALSO(open)

EXPORTED int fcntl(int fd, int command, ...) {
  va_list more;
  va_start(more, command);
  void* argument = va_arg(more, void*);
  va_end(more);
  const enum call call = command == F_DUPFD || command == F_DUPFD_CLOEXEC   ? CALL_fcntl_dupfd
                         : command == F_ADD_SEALS || command == F_GET_SEALS ? CALL_fcntl_seals
                                                                            : CALL_fcntl_flags;
  if (fails(call, fd)) return -1;
  return ((__typeof__(&fcntl))real(call, "fcntl64"))(fd, command, argument);
}
ALSO(fcntl)

EXPORTED int ioctl(int fd, unsigned long request, ...) {
  va_list more;
  va_start(more, request);
  void* argument = va_arg(more, void*);
  va_end(more);
  return fails(CALL_ioctl, fd) ? -1 : REAL(ioctl)(fd, request, argument);
}

EXPORTED pid_t fork(void) {
  if (fails(CALL_fork, -1)) return -1;
  const pid_t pid = REAL(fork)();
  if (pid == 0) {
    ++depth;
    is_worker = 0;
  }
  return pid;
}

struct beginning {
  void* (*routine)(void*);
  void* argument;
};

static void* begin_thread(void* place) {
  const struct beginning beginning = *(struct beginning*)place;
  free(place);
  is_worker = 1;
  return beginning.routine(beginning.argument);
}

EXPORTED int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                            void* (*routine)(void*), void* argument) {
  if (fails(CALL_pthread_create, -1)) return errno;
  struct beginning* beginning = __libc_malloc(sizeof *beginning);
  if (beginning == NULL) return EAGAIN;
  *beginning = (struct beginning){routine, argument};
  const int error = REAL(pthread_create)(thread, attributes, begin_thread, beginning);
  if (error != 0) free(beginning);
  return error;
}

EXPORTED void* malloc(size_t size) {
  return fails(CALL_malloc, -1) ? NULL : __libc_malloc(size);
}

EXPORTED void* calloc(size_t count, size_t size) {
  return fails(CALL_malloc, -1) ? NULL : __libc_calloc(count, size);
}

EXPORTED void* realloc(void* place, size_t size) {
  return fails(CALL_malloc, -1) ? NULL : __libc_realloc(place, size);
}

EXPORTED void* aligned_alloc(size_t alignment, size_t size) {
  return fails(CALL_malloc, -1) ? NULL : __libc_memalign(alignment, size);
}
