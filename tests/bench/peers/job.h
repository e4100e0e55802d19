// The work that every C and C++ peer does for a line, on whatever thread it does it.
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// "result: ", 64 hexadecimal digits, a newline; a little more, so that a task stays aligned.
enum { kJobReplyMax = 80 };

static inline void job_require(bool ok, const char* what) {
  if (ok) return;
  perror(what);
  exit(1);
}

// `spin N`, N of one to nine digits: its milliseconds; any other line: -1.
static inline long job_spin_ms(const char* line, size_t length) {
  if (length < 6 || length > 14 || memcmp(line, "spin ", 5) != 0) return -1;
  long ms = 0;
  for (size_t i = 5; i < length; ++i) {
    if (line[i] < '0' || line[i] > '9') return -1;
    ms = ms * 10 + (line[i] - '0');
  }
  return ms;
}

static inline long long job_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline size_t job_spin(long ms, char* reply) {
  const long long end = job_now_ns() + ms * 1000000LL;
  while (job_now_ns() < end) {
  }
  return (size_t)snprintf(reply, kJobReplyMax, "result: spun %ld ms\n", ms);
}

// Writes the reply to the line (which excludes its newline), newline included; its size.
static inline size_t job_run(const char* line, size_t length, char* reply) {
  const long ms = job_spin_ms(line, length);
  if (ms >= 0) return job_spin(ms, reply);

  // Looking the algorithm up costs more than a short digest: once per thread.
  static __thread EVP_MD_CTX* context;
  if (context == NULL) {
    EVP_MD* algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    context = EVP_MD_CTX_new();
    job_require(algorithm && context && EVP_DigestInit_ex2(context, algorithm, NULL) == 1,
                "SHA-256");
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  job_require(EVP_DigestInit_ex2(context, NULL, NULL) == 1 &&
                  EVP_DigestUpdate(context, line, length) == 1 &&
                  EVP_DigestFinal_ex(context, digest, &size) == 1,
              "SHA-256");
  memcpy(reply, "result: ", 8);
  char* end = reply + 8;
  for (unsigned i = 0; i < size; ++i) {
    *end++ = "0123456789abcdef"[digest[i] >> 4];
    *end++ = "0123456789abcdef"[digest[i] & 15];
  }
  *end++ = '\n';
  return (size_t)(end - reply);
}
