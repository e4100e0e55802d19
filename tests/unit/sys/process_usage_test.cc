#include "sys/process_usage.h"

#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "support/waiting.h"
#include "sys/clock.h"

namespace pool_server {
namespace {

void burn(std::uint64_t us) {
  const std::uint64_t end = cpu_time() + us;
  while (cpu_time() < end) {
  }
}

// A child that has burnt as much CPU time, and waits; or one of whose children has, and ends with
// it.
class Child {
 public:
  explicit Child(std::uint64_t us, bool by_its_child = false) : pid_(::fork()) {
    if (pid_ != 0) return;
    const pid_t self = ::getpid();
    const bool waits = by_its_child && ::fork() != 0;
    if (by_its_child && !waits) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != self) ::_exit(0);  // it was too late for that
    }
    if (!waits) burn(us);
    for (;;) ::pause();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

TEST_CASE("process usage: what this process has used, and has") {
  const std::uint64_t before = cpu_time();
  burn(20'000);
  CHECK(cpu_time() - before >= 20'000);
  const ResidentMemory memory;
  const std::uint64_t resident = memory.bytes();
  CHECK(resident > 1 << 20);
  std::vector<char> more(64 << 20, 'x');
  CHECK(memory.bytes() >= resident + (32 << 20));
  CHECK(more.back() == 'x');
}

TEST_CASE("descendants' usage: of those there are and of those that have ended") {
  DescendantsUsage usage(::getpid(), 7'000'000);
  CHECK_FALSE(usage.known());
  const auto look_until = [&usage](auto holds) {
    return eventually([&] {
      usage.look();
      return usage.known() && holds(*usage.known());
    });
  };
  std::uint64_t cpu = 0;
  {
    const Child first(50'000);
    const Child second(50'000, /*by_its_child=*/true);
    CHECK(look_until([](const auto& seen) {
      return seen.resident > 3 * 100'000 && seen.cpu >= 7'000'000 + 80'000;
    }));
    cpu = usage.known()->cpu;
  }
  CHECK(look_until([](const auto& seen) { return seen.resident == 0; }));
  CHECK(usage.known()->cpu >= cpu);
}

TEST_CASE("descendants' usage: one look at many takes little time, and a later one goes on") {
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 60; ++i) children.push_back(std::make_unique<Child>(0));
  DescendantsUsage usage(::getpid(), 0);
  int looks = 0;
  do {
    usage.look();
    ++looks;
  } while (!usage.known() && looks < 10'000);
  CHECK(usage.known());
  CHECK(looks > 1);
  CHECK(usage.known()->resident > 60 * 50'000);
}

TEST_CASE("descendants' usage: a process that is not there has no children") {
  DescendantsUsage usage(1 << 30, 5);
  usage.look();
  REQUIRE(usage.known());
  CHECK(usage.known()->cpu == 5);
}

}  // namespace
}  // namespace pool_server
