#include "children/nursery.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "sys/packet.h"

namespace pool_server {

namespace {

constexpr TimeUs kPatience = 20'000'000;

ChildStart start_of(std::vector<std::string> words) {
  return {.words = std::move(words), .label = "worker-7", .grace = 50'000};
}

bool has_gone(pid_t pid) {
  return ::kill(pid, 0) != 0 && errno == ESRCH;
}

}  // namespace

// Fails when a program is not connected to its streams, or its end is not told as it was.
TEST_CASE("nursery: a program from its start to its end") {
  Nursery nursery;
  auto [child, fault] =
      nursery.spawner().spawn(start_of({"sh", "-c", "echo last words >&2; read x; exit $x"}));
  REQUIRE(child != nullptr);
  CHECK(fault.empty());
  CHECK_FALSE(child->end());
  REQUIRE(::write(child->input(), "5\n", 2) == 2);
  const auto end = child->wait(kPatience);
  REQUIRE(end);
  CHECK(end->how() == "exit status 5");
  CHECK(end->last_words == "last words");
  CHECK_FALSE(end->nursery_gone);
  CHECK(has_gone(child->pid()));
  std::array<char, 256> buffer;
  REQUIRE(wait_readable(nursery.news(), 1000));
  const Packet news = receive_packet(nursery.news(), buffer);
  CHECK(news.bytes.ends_with(std::string_view("worker-7\0last words", 19)));
}

// Fails when an order is not followed, or a signal is not told by its name.
TEST_CASE("nursery: orders") {
  Nursery nursery;
  auto gentle = nursery.spawner().spawn(start_of({"sleep", "600"}));
  auto deaf = nursery.spawner().spawn(
      start_of({"sh", "-c", "trap '' TERM; echo; while :; do sleep 600; done"}));
  auto killed = nursery.spawner().spawn(start_of({"sleep", "600"}));
  REQUIRE(gentle.child);
  REQUIRE(deaf.child);
  REQUIRE(killed.child);
  REQUIRE(wait_readable(deaf.child->output(), 10'000));  // it does not hear any more
  gentle.child->terminate();
  deaf.child->terminate();
  killed.child->kill();
  CHECK(gentle.child->wait(kPatience).value().how() == "SIGTERM");
  CHECK(deaf.child->wait(kPatience).value().how() == "SIGKILL");
  CHECK(killed.child->wait(kPatience).value().how() == "SIGKILL");
}

// Fails when what cannot be executed is taken for a program that runs.
TEST_CASE("nursery: what is no program") {
  Nursery nursery;
  CHECK(nursery.spawner().spawn(start_of({"/nonexistent"})).fault == std::strerror(ENOENT));
  CHECK(nursery.spawner().spawn(start_of({"nosuchprogram"})).fault == std::strerror(ENOENT));
  CHECK(nursery.spawner().spawn(start_of({"/etc"})).fault == std::strerror(EACCES));
}

// Fails when a child outlives whoever let it go, or the nursery its end.
TEST_CASE("nursery: nothing is left") {
  Nursery nursery;
  auto let_go = nursery.spawner().spawn(start_of({"sleep", "600"}));
  auto kept = nursery.spawner().spawn(start_of({"sleep", "600"}));
  REQUIRE(let_go.child);
  REQUIRE(kept.child);
  const pid_t pid = let_go.child->pid();
  let_go.child.reset();
  for (int i = 0; i < 2000 && !has_gone(pid); ++i) ::usleep(10'000);
  CHECK(has_gone(pid));
  CHECK_FALSE(has_gone(kept.child->pid()));
  nursery.end();
  CHECK(has_gone(kept.child->pid()));
  CHECK(nursery.spawner().spawn(start_of({"cat"})).child == nullptr);
}

}  // namespace pool_server
