#pragma once

#include <pthread.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace pool_server {

// Throws and catches once. libgcc sets up its unwinder at the first throw, by a pthread_once() that
// Helgrind does not understand: done before the first thread starts, there is nothing to report.
void prepare_exceptions();

// A thread's stack, whatever "ulimit -s" is for the first one: what programs are written for. Only
// what is used of it takes memory.
inline constexpr std::size_t kThreadStack = 8 << 20;  // bytes

// A named thread that is joined explicitly or by the destructor. It names itself before it runs its
// body.
class Thread {
 public:
  Thread() = default;
  // Throws std::system_error when the thread cannot be created. The name is cut to 15 bytes, the
  // kernel's limit.
  Thread(const std::string& name, std::function<void()> body);
  Thread(Thread&& other) noexcept;
  Thread& operator=(Thread&& other) noexcept;
  ~Thread();

  bool joinable() const { return joinable_; }
  void join();

 private:
  pthread_t thread_{};
  bool joinable_ = false;
};

}  // namespace pool_server
