/* Preloaded, it has the allocation fail whose number FAIL_MALLOC names, and no other. With
 * FAIL_MALLOC_AFTER_ACCEPTS=n, those are counted that the thread makes which has accepted n
 * connections, from then on. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);

static long left;
static long accepts_to_come;
static int of_one_thread;
static __thread int is_that_thread;

static long variable(const char *name) {
  const char *number = getenv(name);
  return number == NULL ? 0 : atol(number);
}

__attribute__((constructor)) static void begin(void) {
  accepts_to_come = variable("FAIL_MALLOC_AFTER_ACCEPTS");
  of_one_thread = accepts_to_come > 0;
  left = variable("FAIL_MALLOC");
}

/* As the system call has it: <sys/socket.h> has a type of its own for the address. */
__attribute__((visibility("default"))) int accept4(int fd, void *address, void *length, int flags) {
  long accepted = syscall(SYS_accept4, fd, address, length, flags);
  if (accepted >= 0 && --accepts_to_come == 0) is_that_thread = 1;
  return (int)accepted;
}

__attribute__((visibility("default"))) void *malloc(size_t size) {
  if ((!of_one_thread || is_that_thread) && __atomic_load_n(&left, __ATOMIC_RELAXED) > 0 &&
      __atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) == 0) {
    errno = ENOMEM;
    return NULL;
  }
  return __libc_malloc(size);
}
