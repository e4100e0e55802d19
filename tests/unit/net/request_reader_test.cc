#include "net/request_reader.h"

#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace pool_server {
namespace {

TEST_CASE("request reader: no byte is lost or seen twice, however often it has to stop") {
  std::mt19937 random(8);
  const auto buffers = std::make_unique<BufferPool>();
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> expected;
    std::string stream;
    for (int i = 0; i < 20; ++i) {
      expected.push_back(std::string(random() % 30, static_cast<char>('a' + i)));
      stream += expected.back() + "\n";
    }
    stream += "last";
    expected.push_back("last");

    RequestReader reader;
    std::vector<std::string> lines;
    std::string_view unread = stream;
    while (!unread.empty() || reader.may_have_line()) {
      std::string received;  // lives no longer than the call that brought it
      if (!reader.has_backlog() && !unread.empty()) {
        received = unread.substr(0, 1 + random() % 100);
        unread.remove_prefix(received.size());
        reader.feed(received);
      }
      if (unread.empty()) reader.end_of_input();
      for (auto budget = random() % 6; budget > 0; --budget) {
        const auto line = reader.next(100);
        if (!line) break;
        if (random() % 4 == 0) {
          reader.hold(*line);
          CHECK(reader.has_backlog());
          break;
        }
        lines.emplace_back(line->text);
      }
      reader.keep_rest(*buffers);
    }
    REQUIRE(lines == expected);
    CHECK_FALSE(reader.has_backlog());
  }
}

TEST_CASE("request reader: another one goes on where one was stopped") {
  const std::string stream = "one\ntwo\nthis one is too long\nthree\nlast";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    for (std::size_t budget = 0; budget < 3; ++budget) {
      const auto buffers = std::make_unique<BufferPool>();
      std::vector<std::string> lines;
      const auto take = [&lines](RequestReader& reader, std::size_t most) {
        while (most-- > 0) {
          const auto line = reader.next(/*max_line=*/10);
          if (!line) break;
          lines.push_back(line->too_long ? "<too long>" : std::string(line->text));
        }
      };
      RequestReader before;
      before.feed(std::string_view(stream).substr(0, cut));
      take(before, budget);
      before.keep_rest(*buffers);
      CarriedConnection carried;
      before.carry(carried);

      RequestReader after;
      after.restore(carried);
      take(after, SIZE_MAX);
      after.keep_rest(*buffers);
      after.feed(std::string_view(stream).substr(cut));
      after.end_of_input();
      take(after, SIZE_MAX);
      CAPTURE(cut);
      CAPTURE(budget);
      CHECK(lines == std::vector<std::string>{"one", "two", "<too long>", "three", "last"});
    }
  }
}

TEST_CASE(
    "request reader: nothing stays in it of a line that came in pieces, once it is dealt with") {
  const auto buffers = std::make_unique<BufferPool>();
  RequestReader reader;  // a short line lies in the object itself
  reader.feed("secret");
  CHECK_FALSE(reader.next(10));
  reader.keep_rest(*buffers);
  reader.feed("\n");
  CHECK(reader.next(10)->text == "secret");
  CHECK_FALSE(reader.has_input());
  reader.keep_rest(*buffers);
  const auto* begin = reinterpret_cast<const char*>(&reader);
  CHECK(std::string_view(begin, sizeof reader).find("ecret") == std::string_view::npos);
}

TEST_CASE("request reader: a held line is told apart from one that is begun") {
  const auto buffers = std::make_unique<BufferPool>();
  RequestReader reader;
  CHECK_FALSE(reader.held_line().has_value());
  reader.feed("held\nbeg");
  reader.hold(*reader.next(10));
  reader.keep_rest(*buffers);
  REQUIRE(reader.held_line().has_value());
  CHECK(*reader.held_line() == "held");
  CarriedConnection carried;
  reader.carry(carried);
  CHECK(carried.partial_line.empty());
  CHECK(carried.undecoded == "beg");
}

TEST_CASE("request reader: who is given up on is heard to the end of its last whole line") {
  struct Case {
    std::string_view kept;
    std::vector<std::string> heard;
  };
  for (const Case& each : {Case{"one\ntwo\nhalf", {"one", "two"}},
                           Case{"one\ntwo\n", {"one", "two"}}, Case{"half", {}}, Case{"", {}}}) {
    CAPTURE(each.kept);
    for (const bool one_was_heard : {false, true}) {
      const auto buffers = std::make_unique<BufferPool>();
      RequestReader reader;
      std::vector<std::string> lines;
      reader.feed(each.kept);
      reader.keep_rest(*buffers);
      if (one_was_heard) {
        if (const auto line = reader.next(100)) lines.emplace_back(line->text);
      }
      reader.abandon();
      CHECK(reader.at_end_of_input());
      while (const auto line = reader.next(100)) lines.emplace_back(line->text);
      CHECK(lines == each.heard);
      CHECK_FALSE(reader.may_have_line());
      CHECK_FALSE(reader.mid_line());
    }
  }
}

TEST_CASE("request reader: who is given up on keeps the line that it has to say again") {
  const auto buffers = std::make_unique<BufferPool>();
  RequestReader reader;
  reader.feed("held\nhalf");
  reader.hold(*reader.next(100));
  reader.keep_rest(*buffers);
  reader.abandon();
  const auto again = reader.next(100);
  REQUIRE(again.has_value());
  CHECK(again->text == "held");
  CHECK_FALSE(reader.next(100).has_value());
}

}  // namespace
}  // namespace pool_server
