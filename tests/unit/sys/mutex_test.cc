#include "sys/mutex.h"

#include <doctest/doctest.h>

#include <vector>

#include "support/wrapped_pthread.h"
#include "sys/thread.h"

namespace pool_server {
namespace {

struct Ball {
  Mutex mutex;
  ConditionVariable moved;
  int turn PS_GUARDED_BY(mutex) = 0;
  int passes PS_GUARDED_BY(mutex) = 0;
};

TEST_CASE("mutex: one at a time, and a wait ends when it is notified") {
  constexpr int kPlayers = 4;
  constexpr int kRounds = 500;
  Ball ball;
  {
    std::vector<Thread> players;
    for (int me = 0; me < kPlayers; ++me) {
      players.emplace_back("player", [&ball, me] {
        for (int round = 0; round < kRounds; ++round) {
          const MutexLock lock(ball.mutex);
          while (ball.turn != me) ball.moved.wait(ball.mutex);
          ball.turn = (me + 1) % kPlayers;
          ++ball.passes;
          ball.moved.notify_all();
        }
      });
    }
  }
  const MutexLock lock(ball.mutex);
  CHECK(ball.passes == kPlayers * kRounds);
}

TEST_CASE("mutex: its end destroys the kernel's object, and so does a condition variable's") {
  const PthreadCalls before = pthread_calls();
  { const Ball ball; }
  const PthreadCalls after = pthread_calls();
  CHECK(after.mutexes_made == before.mutexes_made + 1);
  CHECK(after.mutexes_destroyed == before.mutexes_destroyed + 1);
  CHECK(after.conditions_made == before.conditions_made + 1);
  CHECK(after.conditions_destroyed == before.conditions_destroyed + 1);
}

}  // namespace
}  // namespace pool_server
