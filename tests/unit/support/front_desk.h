#pragma once

#include <doctest/doctest.h>

#include <sys/epoll.h>

#include <string>
#include <utility>
#include <vector>

#include "server/admission.h"
#include "server/clients.h"
#include "server/log.h"
#include "server/pool_watch.h"
#include "server/reply_router.h"
#include "support/fake_host.h"
#include "support/tasks.h"

namespace pool_server {

inline Options one_worker() {
  Options options;
  options.min_workers = options.max_workers = 1;
  return options;
}

// All that stands between clients and workers, without the process round it: no signals, no
// service manager. Its rounds end as the server's do.
struct FrontDesk final : EventSource {
  explicit FrontDesk(const Options& wanted) : options(wanted) {
    log::set_up(LogLevel::kError);
    driver.at_end_of_round = [this] { end_round(); };
    driver.loop.add(completions.event().fd(), EPOLLIN, *this);
    std::vector<ListeningSocket> sockets;
    sockets.push_back(listen_on_any_port());
    listener = sockets.front().fd.get();
    clients.listen(std::move(sockets));
  }
  FrontDesk(const FrontDesk&) = delete;
  FrontDesk& operator=(const FrontDesk&) = delete;
  ~FrontDesk() {
    script.gate.open();
    driver.loop.remove(completions.event().fd());
  }

  Client connect() const { return Client(connect_to(listener)); }
  // True: it has heard just that by now.
  bool hears(Client& client, const std::string& all) {
    return driver.run_until([&] {
      client.listen();
      return client.heard().size() >= all.size();
    }) && client.heard() == all;
  }
  bool sees_the_end(Client& client) {
    return driver.run_until([&] { return client.listen(); });
  }
  // Until the server has as many connections.
  bool serves(std::size_t count) {
    return driver.run_until([&] { return clients.served() == count; });
  }
  Connection& only_connection() {
    Connection* found = nullptr;
    connections.for_each([&found](Connection& connection) { found = &connection; });
    REQUIRE(found != nullptr);
    return *found;
  }

  void on_events(std::uint32_t) override { completions.event().clear(); }
  void end_round() {
    const TimeUs now = driver.loop.now();
    clients.visit_readable();
    clients.give_turns();
    if (admission.submit(now) && inspects) watch.inspect_soon(now);
    router.tell_stats();
    clients.settle();
    clients.reap();
    if (inspects) watch.inspect(now);
    watch.collect(now);
  }

  Options options;
  bool inspects = true;
  Script script;
  CompletionQueue completions;
  ThreadPool pool{options.min_workers, options.queue_capacity, script.factory(), completions};
  LoopDriver driver;
  ConnectionTable connections;
  RunRecycler recycler;
  Counters counters;
  Admission admission{pool, recycler, counters, [](std::size_t) { return 100; }};
  ReplyRouter router{connections, counters, recycler, [] { return std::string("stats:"); }};
  Clients clients{options, driver.loop, driver.timers, connections, admission, router, counters};
  PoolWatch watch{options, pool, completions, connections, admission, router, counters};
  int listener = -1;
};

}  // namespace pool_server
