#include "sys/crash_report.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>

#include "sys/thread.h"

namespace pool_server {
namespace {

struct Death {
  int signal = 0;
  int status = -1;
  std::string told;
};

// What comes of a process that installs the report for `handler` and then does `body`.
Death die(const std::string& handler, const std::function<void()>& body) {
  int pipe_ends[2];
  REQUIRE(::pipe(pipe_ends) == 0);
  std::cout << std::flush;  // or exit() in the child writes it once more
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pipe_ends[1], STDERR_FILENO);
    for (const int number : {SIGSEGV, SIGABRT, SIGILL}) ::signal(number, SIG_DFL);  // doctest's own
    crash_report::install(handler, "");
    body();
    ::_exit(0);
  }
  ::close(pipe_ends[1]);
  Death death;
  char buffer[1024];
  for (ssize_t got; (got = ::read(pipe_ends[0], buffer, sizeof buffer)) > 0;) {
    death.told.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(pipe_ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) death.signal = WTERMSIG(status);
  if (WIFEXITED(status)) death.status = WEXITSTATUS(status);
  return death;
}

TEST_CASE("crash report: tells handler, worker and task, and dies as it would have") {
  const Death death = die("sudoku", [] {
    crash_report::begin_task(3, 1234567890123, 45);
    ::raise(SIGILL);
  });
  CHECK(death.signal == SIGILL);
  CHECK(death.told ==
        "pool-server: crashed by SIGILL in handler 'sudoku' on worker-3, task 1234567890123 "
        "of connection 45\n");
}

TEST_CASE("crash report: a task that has ended is not blamed, nor one of another thread") {
  const Death after = die("h", [] {
    crash_report::begin_task(0, 1, 1);
    crash_report::end_task();
    ::abort();
  });
  CHECK(after.signal == SIGABRT);
  CHECK(after.told == "pool-server: crashed by SIGABRT in handler 'h' but in no task\n");
  const Death beside = die("h", [] {
    crash_report::begin_task(0, 1, 1);
    Thread("other", [] { ::abort(); }).join();
  });
  CHECK(beside.told == "pool-server: crashed by SIGABRT in handler 'h' but in no task\n");
}

TEST_CASE("crash report: what another process sends ends this one, and blames no task") {
  for (const int number : {SIGABRT, SIGSEGV}) {
    CAPTURE(number);
    const Death death = die("h", [number] {
      crash_report::begin_task(0, 1, 2);
      const pid_t victim = ::getpid();
      const pid_t sender = ::fork();
      if (sender == 0) {
        ::kill(victim, number);
        ::_exit(0);
      }
      ::waitpid(sender, nullptr, 0);
    });
    CHECK(death.signal == number);
    CHECK(death.told.find("of the watchdog or another process (") != std::string::npos);
    CHECK(death.told.find("task") == std::string::npos);
  }
}

TEST_CASE("crash report: SIGABRT that the process sends to itself is obeyed, too") {
  const Death death = die("h", [] {
    crash_report::begin_task(3, 7, 2);
    ::kill(::getpid(), SIGABRT);
  });
  CHECK(death.signal == SIGABRT);
  CHECK(death.told.ends_with("on worker-3, task 7 of connection 2\n"));
}

TEST_CASE("crash report: what was logged in the task goes with it, in one line, cut") {
  const Death death = die("h", [] {
    crash_report::begin_task(0, 1, 2);
    crash_report::note("earlier");
    crash_report::note("last\n" + std::string(1000, 'x'));
    ::abort();
  });
  CHECK(death.told.find("connection 2, having logged: last?xxx") != std::string::npos);
  CHECK(death.told.size() < 400);
  CHECK(death.told.find('\n') == death.told.size() - 1);
  const Death next = die("h", [] {
    crash_report::begin_task(0, 1, 2);
    crash_report::note("earlier");
    crash_report::begin_task(0, 2, 2);
    ::abort();
  });
  CHECK(next.told.find("logged") == std::string::npos);
}

TEST_CASE("exit watch: whoever calls exit is told, and the process ends with 1 there and then") {
  const auto told_of = [](const std::function<void()>& call) {
    return die("h", [&] {
      const crash_report::ExitWatch watch;
      std::atexit([] { ::raise(SIGKILL); });  // a destructor of the handler's
      crash_report::ExitWatch::come_first();
      crash_report::begin_task(0, 1, 2);
      call();
    });
  };
  Death death = told_of([] { ::exit(0); });
  CHECK(death.status == 1);
  CHECK(death.told ==
        "pool-server: handler 'h' ended the process by exit(0) on worker-0, task 1 of connection "
        "2\n");
  death = told_of([] { ::quick_exit(0); });
  CHECK(death.status == 1);
  CHECK(death.told.find("by quick_exit() on worker-0") != std::string::npos);
  death = told_of([] { Thread("other", [] { ::exit(7); }).join(); });
  CHECK(death.status == 1);
  CHECK(death.told == "pool-server: handler 'h' ended the process by exit(7) but in no task\n");
}

TEST_CASE("exit watch: the end of main is none of its business") {
  const Death death = die("h", [] {
    { const crash_report::ExitWatch watch; }
    ::exit(5);
  });
  CHECK(death.status == 5);
  CHECK(death.told.empty());
}

TEST_CASE("crash report: a name of any length and any bytes makes one line") {
  const Death death = die(std::string(1000, 'x') + "\n", [] { ::abort(); });
  CHECK(death.told.size() < 300);
  CHECK(death.told.find('\n') == death.told.size() - 1);
  CHECK(die("a\nb\x1b", [] { ::abort(); }).told.find("'a?b?'") != std::string::npos);
}

TEST_CASE("crash report: every thread has a stack to tell of the end of its own") {
  bool has_one = false;
  Thread("worker", [&has_one] {
    stack_t stack{};
    has_one = ::sigaltstack(nullptr, &stack) == 0 && (stack.ss_flags & SS_DISABLE) == 0;
  }).join();
  CHECK(has_one);
}

}  // namespace
}  // namespace pool_server
