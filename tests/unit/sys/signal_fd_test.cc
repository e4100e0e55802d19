#include "sys/signal_fd.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cerrno>

#include "support/descriptors.h"
#include "support/signal_mask.h"
#include "sys/thread.h"

namespace pool_server {
namespace {

bool is_blocked_here(int signal) {
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  return sigismember(&now, signal) == 1;
}

TEST_CASE("signal fd: signals are events, with their sender") {
  const KeepSignalMask keep;
  SignalFd signals({SIGUSR1, SIGUSR2});
  CHECK(is_nonblocking(signals.fd()));
  CHECK(closes_on_exec(signals.fd()));
  CHECK_FALSE(signals.next().has_value());
  raise(SIGUSR2);
  raise(SIGUSR1);
  raise(SIGUSR1);  // pending already
  bool first = false;
  bool second = false;
  while (const auto signal = signals.next()) {
    CHECK(signal->sender == ::getpid());
    bool& seen = signal->number == SIGUSR1 ? first : second;
    CHECK_FALSE(seen);
    seen = true;
  }
  CHECK(first);
  CHECK(second);
}

TEST_CASE("signal fd: threads that start later have the signals blocked") {
  const KeepSignalMask keep;
  const SignalFd signals({SIGUSR1});
  bool blocked = false;
  bool other_blocked = true;
  Thread("check", [&] {
    blocked = is_blocked_here(SIGUSR1);
    other_blocked = is_blocked_here(SIGUSR2);
  }).join();
  CHECK(blocked);
  CHECK_FALSE(other_blocked);
}

TEST_CASE("signal fd: a write that fails is no signal") {
  struct sigaction before {};
  struct sigaction before_xfsz {};
  sigaction(SIGPIPE, nullptr, &before);
  sigaction(SIGXFSZ, nullptr, &before_xfsz);
  ignore_write_signals();
  auto [reader, writer] = pipe_pair();
  reader.reset();
  CHECK(::write(writer.get(), "x", 1) == -1);
  sigaction(SIGPIPE, &before, nullptr);

  const UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &none);
  CHECK(::write(file.get(), "x", 1) == -1);
  CHECK(errno == EFBIG);
  ::setrlimit(RLIMIT_FSIZE, &limit);
  sigaction(SIGXFSZ, &before_xfsz, nullptr);
}

}  // namespace
}  // namespace pool_server
