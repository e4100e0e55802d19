#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "loop/event_loop.h"
#include "loop/timers.h"
#include "monitor/door.h"
#include "monitor/endpoints.h"
#include "monitor/http.h"
#include "sys/socket_address.h"

namespace pool_server {

// The desk where others ask how the server fares. Nothing that they do, or that fails here, is felt
// by clients: so few connections, so few of them let in at a time, each of them for one request and
// for so long, bodies that are written once for all who ask at about the same time. Loop thread
// only.
class Monitor final : private DoorHost, private HttpHandler, private EventSource {
 public:
  static constexpr unsigned kMaxConnections = 16;

  // Throws std::runtime_error, or what EventLoop::add throws, when it cannot be had.
  Monitor(EventLoop& loop, Timers& timers, std::vector<ListeningSocket> sockets,
          const HttpModule& http, MonitorSource& source);
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;
  ~Monitor();

 private:
  struct Visitor {
    int socket = -1;
    TimeUs since = 0;
    bool shown_out = false;
  };

  // DoorHost
  void on_visitor(UniqueFd socket) override;
  void on_trouble(const std::string& what) override { source_.on_trouble(what); }
  // HttpHandler
  HttpReply answer(const HttpRequest& request) override;
  void on_closed(int socket) override;
  // EventSource, of the HTTP server's descriptor
  void on_events(std::uint32_t events) override;

  void serve();
  void show_out(TimeUs now);
  void look_for_the_slow();
  void end_step(TimeUs now);

  EventLoop& loop_;
  Timers& timers_;
  MonitorSource& source_;
  Endpoints endpoints_;
  std::deque<Visitor> visitors_;  // the longest here first
  std::unique_ptr<HttpServer> http_;
  Door door_;
  // Always armed, if need be for never: then to move one takes no memory.
  CallbackTimer serve_on_;  // the HTTP server has more to do
  CallbackTimer slow_;      // the first visitor's time is over
  CallbackTimer step_;
};

}  // namespace pool_server
