#include "sys/thread.h"

#include <cassert>
#include <system_error>
#include <utility>

namespace pool_server {

namespace {

struct StartUp {
  std::string name;
  std::function<void()> body;
};

void* run(void* argument) {
  const std::unique_ptr<StartUp> start_up(static_cast<StartUp*>(argument));
  pthread_setname_np(pthread_self(), start_up->name.substr(0, 15).c_str());
  start_up->body();
  return nullptr;
}

}  // namespace

void prepare_exceptions() {
  try {
    throw 0;
  } catch (int) {
  }
}

Thread::Thread(std::string name, std::function<void()> body) {
  auto start_up = std::make_unique<StartUp>(StartUp{std::move(name), std::move(body)});
  const int error = pthread_create(&thread_, nullptr, run, start_up.get());
  if (error != 0) throw std::system_error(error, std::generic_category(), "cannot create a thread");
  start_up.release();  // the thread owns it now
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
