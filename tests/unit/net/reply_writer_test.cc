#include "net/reply_writer.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "support/fake_host.h"

namespace pool_server {
namespace {

RunPtr answer(std::uint64_t sequence, std::string reply) {
  auto made = std::make_unique<Run>();
  made->answer(Run::Kind::kRefusal, Outcome::kOk);
  made->sequence = sequence;
  made->replies = std::move(reply);
  return made;
}

TEST_CASE("reply writer: counts all that is held for a client, wherever it is") {
  const auto buffers = std::make_unique<BufferPool>();
  auto [ours, theirs] = socket_pair();
  Client client(std::move(theirs));
  ReplyWriter writer;
  CHECK(writer.reserve(10) == 0);
  CHECK(writer.reserve(20) == 1);
  CHECK(writer.bytes_owed() == 30);
  CHECK(writer.unanswered() == 2);

  writer.put(answer(1, "second\n"), 20);
  constexpr std::size_t kOwn = 512;  // of an answer that waits
  CHECK(writer.bytes_owed() == 10 + 7 + kOwn);
  CHECK(writer.take_next() == nullptr);
  writer.put(answer(0, "first\n"), 10);
  CHECK(writer.bytes_owed() == 7 + 6 + 2 * kOwn);
  while (const RunPtr next = writer.take_next()) writer.append(next->replies, *buffers);
  CHECK(writer.unanswered() == 0);
  CHECK(writer.bytes_owed() == 13);
  CHECK(writer.has_unsent());

  const IoResult result = writer.flush(ours.get(), *buffers);
  CHECK(result.status == IoStatus::kOk);
  CHECK(result.bytes == 13);
  CHECK(writer.bytes_owed() == 0);
  CHECK_FALSE(writer.has_unsent());
  client.listen();
  CHECK(client.heard() == "first\nsecond\n");
}

TEST_CASE("reply writer: a restart carries what is unsent, and what is owed in order") {
  const auto buffers = std::make_unique<BufferPool>();
  ReplyWriter writer;
  for (int i = 0; i < 6; ++i) writer.reserve(1);
  writer.put(answer(0, "sent?\n"), 1);
  writer.append(writer.take_next()->replies, *buffers);
  writer.put(answer(2, "ready\n"), 1);
  RunPtr stats = answer(3, "");
  stats->kind = Run::Kind::kStats;
  writer.put(std::move(stats), 1);
  // Their requests are still with the pool; for the third a copy is late.
  std::vector<RunPtr> undone;
  for (const std::uint64_t sequence : {5U, 2U, 1U, 4U}) {
    undone.push_back(std::make_unique<Run>());
    undone.back()->sequence = sequence;
    undone.back()->add(std::to_string(sequence));
  }
  CarriedConnection carried;
  writer.carry(std::move(undone), carried);
  CHECK_FALSE(writer.has_unsent());  // given away, not copied
  CHECK(carried.unsent == "sent?\n");
  using Kind = CarriedAnswer::Kind;
  const std::vector<CarriedAnswer> expected = {{Kind::kRequest, Outcome::kOk, "1"},
                                               {Kind::kReply, Outcome::kOk, "ready\n"},
                                               {Kind::kStats, Outcome::kOk, ""},
                                               {Kind::kRequest, Outcome::kOk, "4"},
                                               {Kind::kRequest, Outcome::kOk, "5"}};
  CHECK((carried.owed == expected));
}

TEST_CASE("reply writer: a restart carries each request and each reply of a run") {
  ReplyWriter writer;
  for (int i = 0; i < 9; ++i) writer.reserve(1);
  RunPtr ended = answer(1, "result: a\nERROR: b\n");
  ended->tasks.push_back({.outcome = Outcome::kError});
  writer.put(std::move(ended), 2);
  std::vector<RunPtr> undone;
  for (const std::uint64_t sequence : {6U, 3U}) {
    undone.push_back(std::make_unique<Run>());
    undone.back()->sequence = sequence;
    undone.back()->add("x");
    undone.back()->add("");
    undone.back()->add("yz");
  }
  CarriedConnection carried;
  writer.carry(std::move(undone), carried);
  using Kind = CarriedAnswer::Kind;
  const std::vector<CarriedAnswer> expected = {
      {Kind::kReply, Outcome::kError, "ERROR: internal error\n"},  // that nobody has
      {Kind::kReply, Outcome::kOk, "result: a\n"},
      {Kind::kReply, Outcome::kError, "ERROR: b\n"},
      {Kind::kRequest, Outcome::kOk, "x"},
      {Kind::kRequest, Outcome::kOk, ""},
      {Kind::kRequest, Outcome::kOk, "yz"},
      {Kind::kRequest, Outcome::kOk, "x"},
      {Kind::kRequest, Outcome::kOk, ""},
      {Kind::kRequest, Outcome::kOk, "yz"}};
  CHECK((carried.owed == expected));
}

TEST_CASE("reply writer: a restart carries of a run that was cut its own requests, and no more") {
  // Fails when the text of a run is taken for that of its only task.
  ReplyWriter writer;
  for (int i = 0; i < 3; ++i) writer.reserve(1);
  std::vector<RunPtr> undone;
  undone.push_back(std::make_unique<Run>());
  for (const char* request : {"one", "two", "three"}) undone.front()->add(request);
  undone.push_back(undone.front()->split_off(1, 3));
  CarriedConnection carried;
  writer.carry(std::move(undone), carried);
  using Kind = CarriedAnswer::Kind;
  const std::vector<CarriedAnswer> expected = {{Kind::kRequest, Outcome::kOk, "one"},
                                               {Kind::kRequest, Outcome::kOk, "two"},
                                               {Kind::kRequest, Outcome::kOk, "three"}};
  CHECK((carried.owed == expected));
}

TEST_CASE("reply writer: what the kernel does not take stays") {
  const auto buffers = std::make_unique<BufferPool>();
  auto [ours, theirs] = socket_pair();
  Client client(std::move(theirs));
  ReplyWriter writer;
  const std::string much(5 << 20, 'x');
  writer.append(much, *buffers);
  std::size_t sent = 0;
  while (writer.has_unsent()) {
    const IoResult result = writer.flush(ours.get(), *buffers);
    CHECK(result.status != IoStatus::kError);
    sent += result.bytes;
    CHECK(writer.bytes_owed() == much.size() - sent);
    client.listen();
  }
  CHECK(client.heard() == much);
  client.leave();
  writer.append("x", *buffers);
  CHECK(writer.flush(ours.get(), *buffers).status == IoStatus::kError);
}

}  // namespace
}  // namespace pool_server
