#include "sys/thread.h"

#include <cassert>
#include <system_error>
#include <utility>

#include "sys/crash_report.h"

namespace pool_server {

namespace {

struct Start {
  std::string name;
  std::function<void()> body;
};

// The thread names itself: to name another one takes a mounted /proc, and a name that the creator
// lends it would show on the creator for a while.
void* run(void* argument) {
  const std::unique_ptr<Start> start(static_cast<Start*>(argument));
  pthread_setname_np(pthread_self(), start->name.c_str());
  const crash_report::AlternateStack stack;
  start->body();
  return nullptr;
}

}  // namespace

void prepare_exceptions() {
  try {
    throw 0;
  } catch (int) {
  }
}

Thread::Thread(const std::string& name, std::function<void()> body) {
  constexpr std::size_t kLongestName = 15;  // bytes, the kernel's limit
  auto owned = std::make_unique<Start>(Start{name.substr(0, kLongestName), std::move(body)});
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kThreadStack);
  const int error = pthread_create(&thread_, &attributes, run, owned.get());
  pthread_attr_destroy(&attributes);
  if (error != 0) throw std::system_error(error, std::generic_category(), "cannot create a thread");
  owned.release();  // the thread owns it now
  joinable_ = true;
}

Thread::Thread(Thread&& other) noexcept
    : thread_(other.thread_), joinable_(std::exchange(other.joinable_, false)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this != &other) {
    join();
    thread_ = other.thread_;
    joinable_ = std::exchange(other.joinable_, false);
  }
  return *this;
}

Thread::~Thread() {
  join();
}

void Thread::join() {
  if (!joinable_) return;
  const int error = pthread_join(thread_, nullptr);
  assert(error == 0);
  (void)error;
  joinable_ = false;
}

}  // namespace pool_server
