#include "pool/task_recycler.h"

#include <doctest/doctest.h>

#include <string>

namespace pool_server {
namespace {

TEST_CASE("task recycler: a task comes back as new, with the capacity of its strings") {
  TaskRecycler recycler;
  TaskPtr used = recycler.take();
  const Task* object = used.get();
  used->kind = Task::Kind::kStats;
  used->connection = {3, 4};
  used->sequence = 5;
  used->text = std::string(300, 't');
  used->reply = std::string(400, 'r');
  used->outcome = Outcome::kError;
  used->answered = used->cancelled = true;
  recycler.give(std::move(used));

  const TaskPtr again = recycler.take();
  CHECK(again.get() == object);
  CHECK(again->kind == Task::Kind::kWork);
  CHECK(again->connection == ConnectionId{});
  CHECK(again->sequence == 0);
  CHECK(again->text.empty());
  CHECK(again->reply.empty());
  CHECK(again->text.capacity() >= 300);
  CHECK(again->reply.capacity() >= 400);
  CHECK(again->outcome == Outcome::kOk);
  CHECK_FALSE(again->answered);
  CHECK_FALSE(again->cancelled);
  CHECK(recycler.take().get() != object);
}

TEST_CASE("task recycler: one huge request does not occupy memory for ever") {
  TaskRecycler recycler;
  TaskPtr huge = recycler.take();
  huge->text = std::string(1 << 20, 't');
  recycler.give(std::move(huge));
  CHECK(recycler.take()->text.capacity() < 1 << 20);
}

}  // namespace
}  // namespace pool_server
