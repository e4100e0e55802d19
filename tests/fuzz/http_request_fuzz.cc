// Any bytes as what a visitor sends to the monitor, through the HTTP server that it has: the
// visitor gets one whole reply or none, and then the end; and nothing of it stays behind.

#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "monitor/endpoints.h"
#include "must.h"

extern "C" const pool_server::HttpModule pool_server_http_module;

namespace {

using namespace pool_server;

// Of a server that does nothing.
struct Source final : MonitorSource {
  ServerState state() override {
    ServerState state;
    state.workers = {{.index = 0}};
    state.queue_capacity = 10;
    return state;
  }
  void on_trouble(const std::string&) override {}
};

// One that is asked over and over again; time goes on by itself.
struct Desk final : HttpHandler {
  HttpReply answer(const HttpRequest& request) override {
    now += 1'000;
    if (now % History::kStep == 0) endpoints.end_step(now);
    return endpoints.answer(request, now);
  }
  void on_closed(int socket) override {
    must(socket == visitor);
    visitor = -1;
  }

  Source source;
  TimeUs now = History::kStep;
  Endpoints endpoints{source, now};
  int visitor = -1;
  std::unique_ptr<HttpServer> http =
      pool_server_http_module.make(*this, {.connections = 16, .memory = 16 << 10});
};

// What `head` says of itself in that field, or nothing.
std::string_view field(std::string_view head, std::string_view name) {
  const std::size_t at = head.find("\r\n" + std::string(name) + ": ");
  if (at == std::string_view::npos) return {};
  const std::string_view rest = head.substr(at + name.size() + 4);
  return rest.substr(0, rest.find("\r\n"));
}

void check(std::string_view reply) {
  if (reply.empty()) return;  // not worth one
  must(reply.starts_with("HTTP/1.1 ") || reply.starts_with("HTTP/1.0 "));
  const std::string_view status = reply.substr(9, 3);
  const std::size_t end = reply.find("\r\n\r\n");
  must(end != std::string_view::npos);
  const std::string_view head = reply.substr(0, end + 2);
  must(field(head, "Connection") == "close");
  if (status != "200" && status != "404" && status != "405") {
    // Of the HTTP server itself, which may say its head twice (libmicrohttpd 0.9.75, of a request
    // that is malformed); only who sent that gets to see it.
    must(status[0] == '4' || status[0] == '5');
    return;
  }
  const std::string_view body = reply.substr(end + 4);
  const std::string_view length = field(head, "Content-Length");
  std::size_t bytes = 0;
  must(std::from_chars(length.data(), length.data() + length.size(), bytes).ec == std::errc());
  must(body.empty() || body.size() == bytes);  // none for HEAD
  must(field(head, "X-Content-Type-Options") == "nosniff");
}

// What a visitor gets that sends no more than this.
std::string reply_to(std::string_view request) {
  static Desk desk;
  must(desk.http != nullptr);
  int ends[2] = {-1, -1};
  must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  desk.visitor = ends[0];
  must(::send(ends[1], request.data(), request.size(), MSG_NOSIGNAL) ==
       static_cast<ssize_t>(request.size()));
  ::shutdown(ends[1], SHUT_WR);
  must(desk.http->take(ends[0]));
  std::string reply;
  bool over = false;
  constexpr int kRounds = 100;
  for (int round = 0; round < 2 * kRounds && !(over && desk.visitor < 0); ++round) {
    // Who does not complete its request is shown out, as by the monitor.
    if (round == kRounds && desk.visitor >= 0) ::shutdown(desk.visitor, SHUT_RDWR);
    desk.http->run();
    char buffer[4096];
    ssize_t count = 0;
    while ((count = ::recv(ends[1], buffer, sizeof buffer, 0)) > 0) {
      reply.append(buffer, static_cast<std::size_t>(count));
    }
    over = count == 0;
  }
  must(over && desk.visitor < 0);
  ::close(ends[1]);
  return reply;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool serves = reply_to("GET /healthz HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nok\n");
  must(serves);
  check(reply_to({reinterpret_cast<const char*>(data), size}));
  return 0;
}
