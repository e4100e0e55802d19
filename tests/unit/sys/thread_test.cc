#include "sys/thread.h"

#include <doctest/doctest.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <system_error>
#include <utility>

#include "support/wrapped_pthread.h"

namespace pool_server {
namespace {

std::string own_name() {
  std::array<char, 16> name{};
  pthread_getname_np(pthread_self(), name.data(), name.size());
  return name.data();
}

TEST_CASE("R2: a thread has its name, cut to the kernel's limit, before its body runs") {
  std::string seen;
  Thread("worker-7", [&] { seen = own_name(); }).join();
  CHECK(seen == "worker-7");
  Thread("a name that is too long", [&] { seen = own_name(); }).join();
  CHECK(seen == "a name that is ");
}

TEST_CASE("thread: its stack is as large as promised, whatever the limit of the first one is") {
  pthread_attr_t defaults;
  pthread_attr_init(&defaults);
  pthread_attr_setstacksize(&defaults, 64 * 1024);
  pthread_attr_t as_it_was;
  pthread_getattr_default_np(&as_it_was);
  pthread_setattr_default_np(&defaults);  // what "ulimit -s 64" does at the start of a program
  std::size_t size = 0;
  Thread("worker", [&size] {
    pthread_attr_t own;
    pthread_getattr_np(pthread_self(), &own);
    pthread_attr_getstacksize(&own, &size);
    pthread_attr_destroy(&own);
  }).join();
  pthread_setattr_default_np(&as_it_was);
  pthread_attr_destroy(&as_it_was);
  pthread_attr_destroy(&defaults);
  CHECK(size >= kThreadStack);
}

TEST_CASE("thread: is joined by its end, once") {
  const PthreadCalls before = pthread_calls();
  std::atomic<int> ran = 0;
  {
    Thread thread("one", [&] { ++ran; });
    CHECK(thread.joinable());
    thread.join();
    CHECK_FALSE(thread.joinable());
    CHECK(ran == 1);
    thread.join();
    const Thread other("two", [&] { ++ran; });
  }
  CHECK(ran == 2);
  CHECK(pthread_calls().joined == before.joined + 2);
}

TEST_CASE("thread: can be moved; the target's own thread is joined first") {
  const PthreadCalls before = pthread_calls();
  std::atomic<int> ran = 0;
  Thread none;
  CHECK_FALSE(none.joinable());
  Thread first("first", [&] { ++ran; });
  Thread moved(std::move(first));
  CHECK_FALSE(first.joinable());  // NOLINT(bugprone-use-after-move): what a move leaves is promised
  moved = Thread("second", [&] { ++ran; });
  CHECK(pthread_calls().joined == before.joined + 1);
  moved.join();
  CHECK(ran == 2);
  CHECK(pthread_calls().joined == before.joined + 2);
}

TEST_CASE("a thread that cannot be created is an exception, and nothing leaks") {
  const ThreadLimit none(0);
  bool ran = false;
  const std::string payload(100, 'x');  // a leak checker would see it
  CHECK_THROWS_AS(Thread("never", [&ran, payload] { ran = !payload.empty(); }), std::system_error);
  CHECK_FALSE(ran);
}

}  // namespace
}  // namespace pool_server
