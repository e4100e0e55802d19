#include "pool/run_recycler.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace pool_server {
namespace {

TEST_CASE("run recycler: a run comes back as new, with the capacity of its strings") {
  RunRecycler recycler;
  RunPtr used = recycler.take();
  const Run* object = used.get();
  used->kind = Run::Kind::kStats;
  used->connection = {3, 4};
  used->sequence = 5;
  used->text = std::string(300, 't');
  used->replies = std::string(400, 'r');
  used->tasks.push_back({.outcome = Outcome::kError});
  used->answered = used->cancelled = true;
  recycler.give(std::move(used));

  const RunPtr again = recycler.take();
  CHECK(again.get() == object);
  CHECK(again->kind == Run::Kind::kWork);
  CHECK(again->connection == ConnectionId{});
  CHECK(again->sequence == 0);
  CHECK(again->text.empty());
  CHECK(again->replies.empty());
  CHECK(again->text.capacity() >= 300);
  CHECK(again->replies.capacity() >= 400);
  CHECK(again->tasks.empty());
  CHECK(again->tasks.capacity() > 0);
  CHECK_FALSE(again->answered);
  CHECK_FALSE(again->cancelled);
  CHECK(recycler.take().get() != object);
}

TEST_CASE("run recycler: nothing of a request or its reply stays in a run that is kept") {
  RunRecycler recycler;
  RunPtr used = recycler.take();
  used->text = std::string(300, 't');
  used->replies = std::string(400, 'r');
  const char* text = used->text.data();
  const char* replies_at = used->replies.data();
  recycler.give(std::move(used));
  const RunPtr again = recycler.take();
  REQUIRE(again->text.data() == text);
  REQUIRE(again->replies.data() == replies_at);
  again->text.resize(1);  // memory that may be looked at
  again->replies.resize(1);
  const std::string_view texts(text, 301);
  const std::string_view replies(replies_at, 401);
  CHECK(texts.find('t') == std::string_view::npos);
  CHECK(replies.find('r') == std::string_view::npos);
}

TEST_CASE("run recycler: one huge request does not occupy memory for ever") {
  RunRecycler recycler;
  RunPtr huge = recycler.take();
  huge->text = std::string(1 << 20, 't');
  recycler.give(std::move(huge));
  CHECK(recycler.take()->text.capacity() < 1 << 20);
}

}  // namespace
}  // namespace pool_server
