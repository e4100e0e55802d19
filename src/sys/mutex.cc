#include "sys/mutex.h"

#include <cassert>

namespace pool_server {

namespace {

// These calls fail on misuse only (a lock held by another, a destroyed object): a broken invariant.
void must(int result) {
  assert(result == 0);
  (void)result;
}

}  // namespace

Mutex::Mutex() {
  must(pthread_mutex_init(&mutex_, nullptr));
}
Mutex::~Mutex() {
  must(pthread_mutex_destroy(&mutex_));
}
void Mutex::lock() {
  must(pthread_mutex_lock(&mutex_));
}
void Mutex::unlock() {
  must(pthread_mutex_unlock(&mutex_));
}

ConditionVariable::ConditionVariable() {
  must(pthread_cond_init(&condition_, nullptr));
}
ConditionVariable::~ConditionVariable() {
  must(pthread_cond_destroy(&condition_));
}
void ConditionVariable::wait(Mutex& mutex) {
  must(pthread_cond_wait(&condition_, &mutex.mutex_));
}
void ConditionVariable::notify_one() {
  must(pthread_cond_signal(&condition_));
}
void ConditionVariable::notify_all() {
  must(pthread_cond_broadcast(&condition_));
}

}  // namespace pool_server
