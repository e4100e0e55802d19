#include "children/exchange.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "children/frame_exchange.h"
#include "children/line_exchange.h"
#include "children/task_exchange.h"
#include "support/stop_tokens.h"
#include "sys/packet.h"
#include "sys/signal_fd.h"

namespace pool_server {

namespace {

using Result = Exchange::Result;

// Has been told to stop by the time somebody asks for the second time.
class ToldMeanwhile final : public StopToken {
 public:
  explicit ToldMeanwhile(EventFd& wake) : wake_(wake) { wake_.signal(); }

  bool stop_requested() const override {
    if (std::exchange(asked_, true)) return true;
    wake_.signal();
    return false;
  }

 private:
  EventFd& wake_;
  mutable bool asked_ = false;
};

class CountedLines final : public TaskLog {
 public:
  void write(LogLevel, std::string_view) noexcept override { ++count; }
  void failed(std::string_view) noexcept override {}
  void crashed(std::string_view, std::string_view) noexcept override {}

  int count = 0;
};

// A child of which only its streams are there, with their other ends.
struct Streams {
  Streams() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    their_input = UniqueFd(ends[0]);
    input = UniqueFd(ends[1]);
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    output = UniqueFd(ends[0]);
    their_output = UniqueFd(ends[1]);
  }

  Child child() { return {1, std::move(input), std::move(output), nullptr, std::move(life.one)}; }

  PacketPair life = PacketPair::make();
  UniqueFd their_input;
  UniqueFd input;
  UniqueFd output;
  UniqueFd their_output;
};

struct Asking {
  Exchange::Ask of(std::string_view request, const StopToken& stop) {
    return {wake, request, stop, &log, 0};
  }

  EventFd wake;
  CountedLines log;
  std::string reply;
  ChildSettings settings = limited();

 private:
  static ChildSettings limited() {
    ChildSettings limited;
    limited.max_reply = 1000;
    limited.longest_reply = [](std::size_t) -> std::size_t { return 1000; };
    return limited;
  }
};

}  // namespace

// Fails when the worker reads on as long as there is something.
TEST_CASE("exchange: whose frames never end is stopped all the same") {
  Streams streams;
  streams.output = UniqueFd(::open("/dev/zero", O_RDONLY | O_CLOEXEC));  // empty frames for nobody
  Child child = streams.child();
  Asking asking;
  FrameExchange exchange;
  exchange.meet(child, asking.settings);
  const ToldMeanwhile stop(asking.wake);
  CHECK(exchange.run(child, asking.of("x", stop), asking.reply) == Result::kStopped);
  CHECK(asking.reply.empty());
}

TEST_CASE("exchange: who goes on logging is stopped all the same") {
  PacketPair requests = PacketPair::make();
  PacketPair life = PacketPair::make();
  TaskHeader line;
  line.kind = TaskHeader::Kind::kLog;
  constexpr int kLines = 100;
  for (int i = 0; i < kLines; ++i) {
    REQUIRE(::send(requests.other.get(), &line, sizeof line, MSG_DONTWAIT) == sizeof line);
  }
  Child child(1, std::move(requests.one), UniqueFd(), std::make_unique<Claims>(),
              std::move(life.one));
  Asking asking;
  TaskExchange exchange;
  exchange.meet(child, asking.settings);
  const ToldMeanwhile stop(asking.wake);
  CHECK(exchange.run(child, asking.of("x", stop), asking.reply) == Result::kWithdrawn);
  CHECK(asking.log.count < kLines);
}

// Fails when the request waits, though nobody will ever read it; or is taken for read.
TEST_CASE("exchange: who has closed its input gets no request") {
  ignore_write_signals();  // as the server does
  const auto run = [](Exchange& exchange, std::string_view unasked) {
    Streams streams;
    streams.their_input.reset();
    Child child = streams.child();
    const auto size = static_cast<ssize_t>(unasked.size());
    REQUIRE(::write(streams.their_output.get(), unasked.data(), unasked.size()) == size);
    Asking asking;
    exchange.meet(child, asking.settings);
    return exchange.run(child, asking.of("x", KeepGoing()), asking.reply);
  };
  LineExchange lines;
  CHECK(run(lines, "") == Result::kDeaf);
  CHECK_FALSE(lines.was_read());
  CHECK(run(lines, "unasked\n") == Result::kOutOfStep);
  FrameExchange frames;
  CHECK(run(frames, "") == Result::kDeaf);
  CHECK_FALSE(frames.was_read());
  CHECK(run(frames, std::string("\0\0\0\1\0\0\0\2\0x", 10)) == Result::kOutOfStep);
}

}  // namespace pool_server
