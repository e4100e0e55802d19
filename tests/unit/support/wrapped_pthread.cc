#include "support/wrapped_pthread.h"

#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <utility>

namespace {

std::atomic<int> created, joined, mutexes_made, mutexes_destroyed, conditions_made,
    conditions_destroyed;
std::atomic<int> threads_left = -1;
thread_local int unlocks_left = 0;
thread_local std::function<void()> then_call;

}  // namespace

// The linker's names for the calls as wrapped and as they are.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {

int __real_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                          void* argument) {
  if (threads_left == 0) return EAGAIN;
  if (threads_left > 0) --threads_left;
  ++created;
  return __real_pthread_create(thread, attributes, run, argument);
}

int __real_pthread_join(pthread_t, void**);
int __wrap_pthread_join(pthread_t thread, void** result) {
  const int error = __real_pthread_join(thread, result);
  if (error == 0) ++joined;
  return error;
}

int __real_pthread_mutex_init(pthread_mutex_t*, const pthread_mutexattr_t*);
int __wrap_pthread_mutex_init(pthread_mutex_t* mutex, const pthread_mutexattr_t* attributes) {
  ++mutexes_made;
  return __real_pthread_mutex_init(mutex, attributes);
}

int __real_pthread_mutex_destroy(pthread_mutex_t*);
int __wrap_pthread_mutex_destroy(pthread_mutex_t* mutex) {
  const int error = __real_pthread_mutex_destroy(mutex);
  if (error == 0) ++mutexes_destroyed;  // EBUSY: somebody still holds it
  return error;
}

int __real_pthread_mutex_unlock(pthread_mutex_t*);
int __wrap_pthread_mutex_unlock(pthread_mutex_t* mutex) {
  const int error = __real_pthread_mutex_unlock(mutex);
  if (unlocks_left > 0 && --unlocks_left == 0) std::exchange(then_call, nullptr)();
  return error;
}

int __real_pthread_cond_init(pthread_cond_t*, const pthread_condattr_t*);
int __wrap_pthread_cond_init(pthread_cond_t* condition, const pthread_condattr_t* attributes) {
  ++conditions_made;
  return __real_pthread_cond_init(condition, attributes);
}

int __real_pthread_cond_destroy(pthread_cond_t*);
int __wrap_pthread_cond_destroy(pthread_cond_t* condition) {
  const int error = __real_pthread_cond_destroy(condition);
  if (error == 0) ++conditions_destroyed;
  return error;
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)

namespace pool_server {

PthreadCalls pthread_calls() {
  return {.created = created,
          .joined = joined,
          .mutexes_made = mutexes_made,
          .mutexes_destroyed = mutexes_destroyed,
          .conditions_made = conditions_made,
          .conditions_destroyed = conditions_destroyed};
}

void at_unlock(int count, std::function<void()> then) {
  then_call = std::move(then);
  unlocks_left = count;
}

void limit_threads(int left) {
  threads_left = left;
}

}  // namespace pool_server
