#include "sys/thread.h"

#include <array>
#include <cassert>
#include <system_error>
#include <utility>

namespace pool_server {

namespace {

void* run(void* argument) {
  const std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()>*>(argument));
  (*body)();
  return nullptr;
}

// Takes another name for the while. A new thread inherits its creator's, so it has it from its
// first instant: who lists the threads never sees one without its name.
class BorrowedName {
 public:
  explicit BorrowedName(const std::string& name) {
    pthread_getname_np(pthread_self(), own_.data(), own_.size());
    pthread_setname_np(pthread_self(), name.substr(0, own_.size() - 1).c_str());
  }
  BorrowedName(const BorrowedName&) = delete;
  BorrowedName& operator=(const BorrowedName&) = delete;
  ~BorrowedName() { pthread_setname_np(pthread_self(), own_.data()); }

 private:
  std::array<char, 16> own_{};  // the kernel's limit, with the terminating zero
};

}  // namespace

void prepare_exceptions() {
  try {
    throw 0;
  } catch (int) {
  }
}

Thread::Thread(const std::string& name, std::function<void()> body) {
  auto owned = std::make_unique<std::function<void()>>(std::move(body));
  const BorrowedName for_the_new_thread(name);
  const int error = pthread_create(&thread_, nullptr, run, owned.get());
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
