/* Preloaded, it has the allocation fail whose number FAIL_MALLOC names, and no other. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t size);

static long left = -1;

__attribute__((constructor)) static void begin(void) {
  const char *number = getenv("FAIL_MALLOC");
  left = number == NULL ? 0 : atol(number);
}

__attribute__((visibility("default"))) void *malloc(size_t size) {
  if (__atomic_load_n(&left, __ATOMIC_RELAXED) > 0 &&
      __atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) == 0) {
    errno = ENOMEM;
    return NULL;
  }
  return __libc_malloc(size);
}
