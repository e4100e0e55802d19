#include "core/run.h"

#include <doctest/doctest.h>

#include <new>
#include <string>
#include <utility>
#include <vector>

#include "support/failing_new.h"

namespace pool_server {
namespace {

Run three() {
  Run run;
  run.connection = {7, 3};
  run.sequence = 10;
  run.number = 100;
  run.serial = 5;
  run.accepted_at = 1'000;
  run.charge = 100;
  for (const char* request : {"one", "", "three"}) run.add(request);
  return run;
}

std::vector<std::string> texts_of(const Run& run) {
  std::vector<std::string> texts;
  run.for_each_text([&](const Task&, std::string_view text) { texts.emplace_back(text); });
  return texts;
}

using Texts = std::vector<std::string>;

TEST_CASE("run: requests lie one after the other, and are told apart") {
  const Run run = three();
  CHECK(run.size() == 3);
  CHECK(run.end() == 13);
  CHECK(run.text == "onethree");
  CHECK(texts_of(run) == Texts{"one", "", "three"});
}

TEST_CASE("run: what has not begun is taken away as a run of its own") {
  Run run = three();
  const char* text = run.text.data();
  const RunPtr rest = run.split_off(1, 3);
  CHECK(run.text.data() == text);  // its handler may be reading there
  CHECK(run.text == "onethree");
  CHECK(run.size() == 1);
  CHECK(run.end() == 11);
  CHECK(texts_of(*rest) == Texts{"", "three"});
  CHECK(rest->sequence == 11);
  CHECK(rest->number == 101);
  CHECK(rest->end() == 13);
  CHECK(rest->connection == run.connection);
  CHECK(rest->serial == 5);
  CHECK(rest->accepted_at == 1'000);
  CHECK(run.charge + rest->charge == 100);
  CHECK(rest->charge > run.charge);
  CHECK(rest->replies.capacity() >= 2 * protocol::kInternalErrorReply.size());
}

TEST_CASE("run: nothing stays of a text that was given to another run") {
  Run run = three();
  (void)run.split_off(1, 3);
  const char* text = run.text.data();
  run.forget_text(3);
  CHECK(run.text == "one");
  CHECK(texts_of(run) == Texts{"one"});
  CHECK(std::string_view(text, 8).find('h') == std::string_view::npos);
}

TEST_CASE("run: what has ended is given away with its replies") {
  Run run = three();
  run.replies = "result: 1\nERROR: 2\n";
  run.tasks[0].took = 5;
  run.tasks[1].outcome = Outcome::kError;
  run.work = 9;
  run.has_news = true;
  run.notes.add(std::make_unique<TaskNotes>(101));
  const RunPtr ended = run.give_ended(2);
  std::vector<std::string> replies;
  ended->for_each_reply([&](const Task&, std::string_view reply) { replies.emplace_back(reply); });
  CHECK(replies == Texts{"result: 1\n", "ERROR: 2\n"});
  CHECK(ended->sequence == 10);
  CHECK(ended->end() == 12);
  CHECK(ended->took() == 5);
  CHECK(ended->work == 9);
  CHECK(ended->errors() == 1);
  CHECK(ended->has_news);
  CHECK(ended->notes.find(101) != nullptr);
  CHECK(run.sequence == 12);
  CHECK(run.number == 102);
  CHECK(run.size() == 1);
  CHECK(run.tasks[0].size == 5);
  CHECK(run.replies.empty());
  CHECK(run.replies.capacity() >= protocol::kInternalErrorReply.size());
  CHECK(run.work == 0);
  CHECK_FALSE(run.has_news);
  CHECK(run.notes.empty());
  CHECK(run.charge + ended->charge == 100);
}

TEST_CASE("run: without memory nothing has changed") {
  for (int count = 0; count < 12; ++count) {
    CAPTURE(count);
    Run run = three();
    run.replies = "result: 1\n";
    bool failed = false;
    try {
      const FailingNew fails(static_cast<std::size_t>(count / 2), FailingNew::Then::kRecovers);
      if (count % 2 == 0) {
        (void)run.split_off(1, 3);
      } else {
        (void)run.give_ended(1);
      }
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    if (!failed) continue;
    CHECK(texts_of(run) == Texts{"one", "", "three"});
    CHECK(run.sequence == 10);
    CHECK(run.charge == 100);
    CHECK(run.replies == "result: 1\n");
  }
}

TEST_CASE("run: is as new once it was reset, and nothing of what it held stays") {
  Run run = three();
  run.replies = "result: secret\n";
  run.answered = true;
  const char* text = run.text.data();
  run.reset();
  CHECK(run.size() == 0);
  CHECK(run.sequence == 0);
  CHECK_FALSE(run.answered);
  CHECK(run.text.empty());
  CHECK(run.text.data() == text);
  run.text.resize(8);  // memory that may be looked at
  CHECK(std::string_view(text, 8).find('o') == std::string_view::npos);
}

}  // namespace
}  // namespace pool_server
