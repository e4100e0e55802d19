#include "monitor/monitor.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "monitor/endpoints.h"
#include "support/descriptors.h"
#include "support/failing_new.h"
#include "support/loop_driver.h"
#include "sys/event_fd.h"
#include "sys/socket.h"

namespace pool_server {
namespace {

// Keeps what it is given until it is told, or until the other end has gone.
class FakeHttp final : public HttpServer {
 public:
  explicit FakeHttp(HttpHandler& handler) : handler_(handler) {}
  FakeHttp(const FakeHttp&) = delete;
  FakeHttp& operator=(const FakeHttp&) = delete;
  ~FakeHttp() override {
    while (!sockets.empty()) close_first();
  }

  int descriptor() const override { return event_.fd(); }
  bool take(int socket) override {
    UniqueFd owned(socket);
    if (refuses) return false;
    taken_at.push_back(monotonic_now());
    sockets.push_back(std::move(owned));
    most = std::max(most, sockets.size());
    return true;
  }
  bool run() override {
    ++runs;
    event_.clear();
    return busy;
  }

  void close_first() {
    handler_.on_closed(sockets.front().get());
    sockets.erase(sockets.begin());
  }
  HttpReply ask(const HttpRequest& request) { return handler_.answer(request); }
  void become_readable() { event_.signal(); }

  std::vector<UniqueFd> sockets;
  std::vector<TimeUs> taken_at;
  std::size_t most = 0;
  int runs = 0;
  bool busy = false;
  bool refuses = false;

 private:
  HttpHandler& handler_;
  EventFd event_;
};

FakeHttp* last_made = nullptr;
bool can_be_made = true;

std::unique_ptr<HttpServer> make_fake(HttpHandler& handler, const HttpLimits&) {
  if (!can_be_made) return nullptr;
  auto http = std::make_unique<FakeHttp>(handler);
  last_made = http.get();
  return http;
}

constexpr HttpModule kFake = {"", make_fake};

struct Source final : MonitorSource {
  ServerState::Phase phase = ServerState::Phase::kServing;
  int looks = 0;
  std::vector<std::string> troubles;
  std::size_t depth = 0;

  ServerState state() override {
    ++looks;
    ServerState state;
    state.phase = phase;
    state.workers = {{.index = 0}};
    state.queue_depth = depth;
    state.queue_capacity = 10;
    return state;
  }
  void on_trouble(const std::string& what) override { troubles.push_back(what); }
};

struct MonitorFixture {
  LoopDriver driver;
  Source source;
  int door = -1;
  Monitor monitor{driver.loop, driver.timers, sockets(), kFake, source};
  FakeHttp& http = *last_made;
  std::vector<UniqueFd> visitors;

  std::vector<ListeningSocket> sockets() {
    std::vector<ListeningSocket> all;
    all.push_back(listen_on_any_port());
    door = all.front().fd.get();
    return all;
  }
  void come(int count) {
    for (int i = 0; i < count; ++i) visitors.push_back(connect_to(door));
  }
  bool let_in(std::size_t count) {
    return driver.run_until([&] { return http.taken_at.size() >= count; });
  }
};

TEST_CASE_FIXTURE(MonitorFixture,
                  "monitor: lets in a few at a time, and not more than have a place") {
  come(40);
  REQUIRE(let_in(Monitor::kMaxConnections));
  CHECK(http.taken_at[15] - http.taken_at[0] >= 3 * 5'000 - 1'000);
  // The resolution of the loop's clock is a round.
  for (std::size_t i = 4; i < 16; ++i) CHECK(http.taken_at[i] - http.taken_at[i - 4] >= 4'000);
  driver.run_rounds(50);
  CHECK(http.sockets.size() == Monitor::kMaxConnections);
  http.close_first();
  REQUIRE(let_in(Monitor::kMaxConnections + 1));
  CHECK(http.most == Monitor::kMaxConnections);
}

TEST_CASE("monitor: who waits at one socket is let in, however many wait at another") {
  LoopDriver driver;
  Source source;
  std::vector<ListeningSocket> sockets;
  sockets.push_back(listen_on_any_port());
  sockets.push_back(listen_on_any_port());
  const int busy = sockets.front().fd.get();
  const int quiet = sockets.back().fd.get();
  Monitor monitor(driver.loop, driver.timers, std::move(sockets), kFake, source);
  FakeHttp& http = *last_made;
  const int port = local_port(quiet);
  std::vector<UniqueFd> visitors;
  for (int i = 0; i < 40; ++i) visitors.push_back(connect_to(busy));
  visitors.push_back(connect_to(quiet));
  const auto is_in = [&] {
    return std::ranges::any_of(
        http.sockets, [port](const UniqueFd& socket) { return local_port(socket.get()) == port; });
  };
  for (int i = 0; i < 40 && !is_in(); ++i) {
    const std::size_t before = http.taken_at.size();
    if (http.sockets.size() == Monitor::kMaxConnections) {
      http.close_first();
      visitors.push_back(connect_to(busy));
    }
    REQUIRE(driver.run_until([&] { return http.taken_at.size() > before; }));
  }
  CHECK(is_in());
}

TEST_CASE("monitor: without memory it says nothing rather than that it is ready") {
  std::size_t failed = 0;
  for (std::size_t successes = 0; successes < 40; ++successes) {
    CAPTURE(successes);
    Source source;
    Endpoints endpoints(source, 0);
    source.phase = ServerState::Phase::kDraining;
    constexpr TimeUs kLater = Endpoints::kFresh;
    const HttpRequest readiness{.method = "GET", .path = "/readyz", .since = {}, .accept = {}};
    try {
      const FailingNew memory(successes, FailingNew::Then::kRecovers);
      CHECK(endpoints.answer(readiness, kLater).status == 503);
    } catch (const std::bad_alloc&) {
      ++failed;
    }
    CHECK(endpoints.answer(readiness, kLater).status == 503);
  }
  CHECK(failed > 2);
}

TEST_CASE_FIXTURE(MonitorFixture,
                  "monitor: while all places are taken, who is slow is shown out in a second") {
  come(20);
  REQUIRE(let_in(Monitor::kMaxConnections));
  const TimeUs begin = http.taken_at.front();
  std::array<char, 1> byte{};
  REQUIRE(driver.run_until(
      [&] { return receive(http.sockets.front().get(), byte).status == IoStatus::kEof; }));
  CHECK(monotonic_now() - begin >= 1'000'000);
  http.close_first();
  REQUIRE(let_in(Monitor::kMaxConnections + 1));
}

TEST_CASE_FIXTURE(MonitorFixture,
                  "monitor: a visitor that the HTTP server refuses takes no place") {
  http.refuses = true;
  come(40);
  driver.run_rounds(300);
  http.refuses = false;
  come(1);
  CHECK(let_in(1));
  CHECK(driver.is_quiet());
}

TEST_CASE_FIXTURE(MonitorFixture,
                  "monitor: what the HTTP server has left to do has a round of its own") {
  http.busy = true;
  http.become_readable();
  REQUIRE(driver.run_until([&] { return http.runs >= 3; }));
  http.busy = false;
  driver.run_rounds(5);
  const int runs = http.runs;
  driver.run_rounds(20);
  CHECK(http.runs == runs);
}

TEST_CASE_FIXTURE(MonitorFixture,
                  "monitor: whatever is asked how often, the server is looked at now and then") {
  source.looks = 0;
  const auto get = [this](std::string_view path) {
    return http.ask({.method = "GET", .path = path, .since = "", .accept = ""});
  };
  const TimeUs begin = monotonic_now();
  int asked = 0;
  driver.run_until([&] {
    for (const char* path : {"/metrics", "/state.json", "/readyz", "/history.json", "/"}) {
      CHECK(get(path).status == 200);
    }
    return ++asked >= 300;
  });
  const TimeUs took = monotonic_now() - begin;
  CHECK(source.looks <= 2 + took / Endpoints::kFresh);
  CHECK(get("/state.json").body == get("/state.json").body);
}

TEST_CASE_FIXTURE(MonitorFixture, "monitor: a row of the history for each step") {
  const auto rows = [this] {
    const auto reply =
        http.ask({.method = "GET", .path = "/history.json", .since = "", .accept = ""});
    return std::ranges::count(*reply.body, '[') - 2;  // those of the columns and of the rows
  };
  CHECK(rows() == 0);
  CHECK(driver.run_until([&] { return rows() == 1; }));
}

TEST_CASE("monitor: what cannot be had is said, and leaves nothing behind") {
  LoopDriver driver;
  Source source;
  can_be_made = false;
  std::vector<ListeningSocket> sockets;
  sockets.push_back(listen_on_any_port());
  const int fd = sockets.front().fd.get();
  CHECK_THROWS_WITH(Monitor(driver.loop, driver.timers, std::move(sockets), kFake, source),
                    "the monitor's HTTP server cannot be started");
  can_be_made = true;
  CHECK_FALSE(is_open(fd));
  driver.run_rounds(3);
}

TEST_CASE_FIXTURE(MonitorFixture,
                  "monitor: a door that is broken is told, and the loop stays quiet") {
  shut_down(door);
  REQUIRE(driver.run_until([&] { return !source.troubles.empty(); }));
  CHECK(source.troubles.front().find("does not listen") != std::string::npos);
  CHECK(driver.is_quiet());
}

TEST_CASE_FIXTURE(MonitorFixture,
                  "monitor: without a descriptor for a visitor it tries again later") {
  {
    come(1);
    const NoDescriptorsLeft none;
    REQUIRE(driver.run_until([&] { return !source.troubles.empty(); }));
    CHECK(driver.is_quiet());
  }
  CHECK(let_in(1));
}

}  // namespace
}  // namespace pool_server
