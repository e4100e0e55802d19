#pragma once

#include <pthread.h>

#include "sys/thread_annotations.h"

namespace pool_server {

// A pthread mutex with clang's thread-safety annotations, which std::mutex lacks in libstdc++, and
// with a destructor that really calls pthread_mutex_destroy and asserts that nobody holds it.
class PS_CAPABILITY("mutex") Mutex {
 public:
  Mutex();
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex();

  void lock() PS_ACQUIRE();
  void unlock() PS_RELEASE();

 private:
  friend class ConditionVariable;
  pthread_mutex_t mutex_;
};

class PS_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) PS_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() PS_RELEASE() { mutex_.unlock(); }

 private:
  Mutex& mutex_;
};

// Notify while holding the mutex: the waiter then cannot be between its check and its wait, and the
// condition variable cannot be destroyed under the notifier.
class ConditionVariable {
 public:
  ConditionVariable();
  ConditionVariable(const ConditionVariable&) = delete;
  ConditionVariable& operator=(const ConditionVariable&) = delete;
  ~ConditionVariable();

  void wait(Mutex& mutex) PS_REQUIRES(mutex);  // may wake for no reason: wait in a loop
  void notify_one();
  void notify_all();

 private:
  pthread_cond_t condition_;
};

}  // namespace pool_server
