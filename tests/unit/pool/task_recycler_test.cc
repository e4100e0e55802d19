#include "pool/task_recycler.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

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

TEST_CASE("task recycler: nothing of a request or its reply stays in a task that is kept") {
  TaskRecycler recycler;
  TaskPtr used = recycler.take();
  used->text = std::string(300, 't');
  used->reply = std::string(400, 'r');
  const char* text = used->text.data();
  const char* reply = used->reply.data();
  recycler.give(std::move(used));
  const TaskPtr again = recycler.take();
  REQUIRE(again->text.data() == text);
  REQUIRE(again->reply.data() == reply);
  again->text.resize(1);  // memory that may be looked at
  again->reply.resize(1);
  const std::string_view texts(text, 301);
  const std::string_view replies(reply, 401);
  CHECK(texts.find('t') == std::string_view::npos);
  CHECK(replies.find('r') == std::string_view::npos);
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
