#include "core/task_notes.h"

#include <doctest/doctest.h>

#include <string>

#include "core/run_chain.h"

namespace pool_server {
namespace {

TEST_CASE("task notes: lines are kept in order, without control bytes") {
  TaskNotes notes(1);
  notes.add(LogLevel::kError, "one\x1b[1m");
  notes.add(LogLevel::kDebug, "tw\xc3\xb6\n");
  notes.add(LogLevel::kInfo, "");
  REQUIRE(notes.lines().size() == 3);
  CHECK(notes.lines()[0].level == LogLevel::kError);
  CHECK(notes.lines()[0].text == "one?[1m");
  CHECK(notes.lines()[1].level == LogLevel::kDebug);
  CHECK(notes.lines()[1].text == "tw\xc3\xb6?");
  CHECK(notes.lines()[2].text.empty());
  CHECK(notes.reason().empty());
  CHECK(notes.left_out() == 0);
}

TEST_CASE("task notes: what is over is left out, and counted") {
  TaskNotes lines(1);
  for (int i = 0; i < 12; ++i) lines.add(LogLevel::kInfo, "12345");
  CHECK(lines.lines().size() == TaskNotes::kMostLines);
  CHECK(lines.left_out() == 5 * (12 - TaskNotes::kMostLines));

  TaskNotes bytes(1);
  bytes.add(LogLevel::kInfo, std::string(1000, 'x'));
  bytes.add(LogLevel::kInfo, std::string(100, 'y'));
  bytes.fail("z");
  CHECK(bytes.lines()[0].text == std::string(1000, 'x'));
  CHECK(bytes.lines()[1].text == std::string(24, 'y'));
  CHECK(bytes.reason().empty());
  CHECK(bytes.left_out() == 77);
}

TEST_CASE("task notes: the first reason for a failure counts") {
  TaskNotes notes(1);
  notes.fail("thrown\n");
  notes.fail("it gave no reason");
  CHECK(notes.reason() == "thrown?");
  CHECK(notes.lines().empty());
}

TEST_CASE("task notes: those of a run are found by the number of their task") {
  TaskNotesList list;
  CHECK(list.empty());
  CHECK(list.find(7) == nullptr);
  for (const std::uint64_t task : {7U, 9U}) list.add(std::make_unique<TaskNotes>(task));
  TaskNotesList other;
  other.swap(list);
  CHECK(list.empty());
  REQUIRE(other.find(7) != nullptr);
  CHECK(other.find(7)->task() == 7);
  CHECK(other.find(9)->task() == 9);
  CHECK(other.find(8) == nullptr);
  other.clear();
  CHECK(other.empty());
}

TEST_CASE("run chain: runs come out in their order, and those left go with it") {
  RunChain chain;
  CHECK(chain.pop() == nullptr);
  for (std::uint64_t number = 0; number < 3; ++number) {
    auto run = std::make_unique<Run>();
    run->number = number;
    chain.push(std::move(run));
  }
  RunChain other;
  other.swap(chain);
  CHECK(chain.empty());
  CHECK(other.size() == 3);
  CHECK(other.pop()->number == 0);
  const RunPtr second = other.pop();
  CHECK(second->number == 1);
  CHECK(second->next == nullptr);
  chain.swap(other);
  chain.push(std::make_unique<Run>());
  CHECK(chain.pop()->number == 2);
  CHECK(chain.size() == 1);
}

}  // namespace
}  // namespace pool_server
