// Cuts a byte stream into lines, for the C peers.
#pragma once

#include "job.h"

enum { kMaxLine = 64 * 1024 };

// The start of a line whose end has not arrived. Nothing is allocated where there is none: most
// reads end where a line does.
typedef struct {
  char* data;
  size_t length;
  size_t capacity;
} Partial;

typedef void (*LineCallback)(void* context, const char* line, size_t length);

static inline void partial_free(Partial* partial) {
  free(partial->data);
  memset(partial, 0, sizeof *partial);
}

static inline bool partial_append(Partial* partial, const char* data, size_t size) {
  const size_t length = partial->length + size;
  if (length > kMaxLine) return false;
  if (length > partial->capacity) {
    partial->capacity = length < 2 * partial->capacity ? 2 * partial->capacity : length;
    partial->data = (char*)realloc(partial->data, partial->capacity);
    job_require(partial->data != NULL, "realloc");
  }
  memcpy(partial->data + partial->length, data, size);
  partial->length = length;
  return true;
}

// Calls `on_line` for each line that the data ends, keeps the rest. False: a line is too long.
static inline bool split_lines(Partial* partial, const char* data, size_t size,
                               LineCallback on_line, void* context) {
  const char* const end = data + size;
  const char* newline;
  while ((newline = (const char*)memchr(data, '\n', (size_t)(end - data))) != NULL) {
    const size_t length = (size_t)(newline - data);
    if (partial->length > 0) {
      if (!partial_append(partial, data, length)) return false;
      on_line(context, partial->data, partial->length);
      partial_free(partial);
    } else {
      if (length > kMaxLine) return false;
      on_line(context, data, length);
    }
    data = newline + 1;
  }
  return data == end || partial_append(partial, data, (size_t)(end - data));
}
