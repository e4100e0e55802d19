#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

// What the monitor wants of an HTTP server, and the other way round. The server is a module of its
// own, so that a process without a monitor loads none of the libraries that it takes. Both sides
// are built together: which is checked, as nothing in here is an interface for others.
namespace pool_server {

struct HttpRequest {
  std::string_view method;
  std::string_view path;   // decoded, without the query
  std::string_view since;  // of the query; empty: not there
  std::string_view accept;
};

struct HttpReply {
  unsigned status = 200;
  std::string_view type = "text/plain; charset=utf-8";
  std::shared_ptr<const std::string> body;
  std::string_view policy = {};  // Content-Security-Policy; empty: none
};

class HttpHandler {
 public:
  virtual HttpReply answer(const HttpRequest& request) = 0;  // what it throws ends the connection
  // A connection is over; its descriptor is closed next.
  virtual void on_closed(int socket) = 0;

 protected:
  ~HttpHandler() = default;
};

// Serves one request on each connection, and makes no thread. Not re-entrant.
class HttpServer {
 public:
  HttpServer() = default;
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  virtual ~HttpServer() = default;  // closes what it has, and tells

  virtual int descriptor() const = 0;  // readable when run() has something to do
  // Serves a client on this socket, which is the server's from here on. False: it has closed it.
  virtual bool take(int socket) = 0;
  // Does what can be done without waiting. True: to be called again, whether or not something more
  // comes in.
  virtual bool run() = 0;
};

struct HttpLimits {
  unsigned connections = 0;
  std::size_t memory = 0;  // bytes of a connection: its request, and the head of the reply
};

struct HttpModule {
  std::string_view version;  // of pool-server
  // Null: it cannot be had, for lack of a descriptor or memory.
  std::unique_ptr<HttpServer> (*make)(HttpHandler& handler, const HttpLimits& limits);
};

// What the module exports.
inline constexpr const char* kHttpModuleSymbol = "pool_server_http_module";

}  // namespace pool_server
