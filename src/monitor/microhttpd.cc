// The module that has libmicrohttpd, which knows nothing of the rest of the server.

#include <microhttpd.h>

#include <exception>
#include <memory>
#include <utility>

#include "monitor/http.h"

namespace pool_server {

namespace {

class MicroHttpd final : public HttpServer {
 public:
  MicroHttpd(HttpHandler& handler, const HttpLimits& limits) : handler_(handler) {
    // Without a socket to listen on: clients are let in one by one, at our pace. Without a
    // time-out: a byte now and then would reset it.
    daemon_ = ::MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, nullptr, nullptr, &on_request, this,
        MHD_OPTION_NOTIFY_CONNECTION, &on_connection, this, MHD_OPTION_CONNECTION_LIMIT,
        limits.connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, limits.memory,
        MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (daemon_ == nullptr) return;
    const MHD_DaemonInfo* info = ::MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD);
    if (info != nullptr) descriptor_ = info->epoll_fd;
  }
  MicroHttpd(const MicroHttpd&) = delete;
  MicroHttpd& operator=(const MicroHttpd&) = delete;
  ~MicroHttpd() override {
    if (daemon_ != nullptr) ::MHD_stop_daemon(daemon_);
  }

  bool works() const { return descriptor_ >= 0; }
  int descriptor() const override { return descriptor_; }
  bool take(int socket) override {
    return ::MHD_add_connection(daemon_, socket, nullptr, 0) == MHD_YES;
  }
  bool run() override {
    ::MHD_run(daemon_);
    MHD_UNSIGNED_LONG_LONG wait = 0;
    return ::MHD_get_timeout(daemon_, &wait) == MHD_YES && wait == 0;
  }

 private:
  static std::string_view text_of(const char* text) { return text == nullptr ? "" : text; }

  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url,
                               const char* method, const char* /*version*/, const char* /*upload*/,
                               std::size_t* /*upload_size*/, void** /*state*/) {
    const HttpRequest request{
        .method = text_of(method),
        .path = text_of(url),
        .since = text_of(::MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "since")),
        .accept = text_of(
            ::MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT)),
    };
    try {
      return send(connection, static_cast<MicroHttpd*>(self)->handler_.answer(request));
    } catch (const std::exception&) {
      return MHD_NO;
    }
  }

  static MHD_Result send(MHD_Connection* connection, HttpReply reply) {
    // The body is shared by all who get it while it is fresh, and lives as long as the last of
    // them.
    using Body = std::shared_ptr<const std::string>;
    auto body = std::make_unique<Body>(std::move(reply.body));
    const std::string& bytes = **body;
    struct Destroy {
      void operator()(MHD_Response* response) const { ::MHD_destroy_response(response); }
    };
    const std::unique_ptr<MHD_Response, Destroy> owned(
        ::MHD_create_response_from_buffer_with_free_callback_cls(
            bytes.size(), const_cast<char*>(bytes.data()),  // NOLINT: it is only read
            [](void* shared) { delete static_cast<Body*>(shared); }, body.get()));
    if (owned == nullptr) return MHD_NO;
    MHD_Response* const response = owned.get();
    static_cast<void>(body.release());
    bool sound = true;
    const auto add = [&](const char* name, std::string_view value) {
      const std::string text(value);
      sound = sound && ::MHD_add_response_header(response, name, text.c_str()) == MHD_YES;
    };
    add(MHD_HTTP_HEADER_CONTENT_TYPE, reply.type);
    add(MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    add("X-Content-Type-Options", "nosniff");
    // One request a connection: what a client has sent behind it is not worth looking at.
    add(MHD_HTTP_HEADER_CONNECTION, "close");
    if (!reply.policy.empty()) add("Content-Security-Policy", reply.policy);
    if (reply.status == MHD_HTTP_METHOD_NOT_ALLOWED) add(MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    return sound ? ::MHD_queue_response(connection, reply.status, response) : MHD_NO;
  }

  static void on_connection(void* self, MHD_Connection* connection, void** /*context*/,
                            MHD_ConnectionNotificationCode what) {
    if (what != MHD_CONNECTION_NOTIFY_CLOSED) return;
    const MHD_ConnectionInfo* info =
        ::MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != nullptr) static_cast<MicroHttpd*>(self)->handler_.on_closed(info->connect_fd);
  }

  HttpHandler& handler_;
  MHD_Daemon* daemon_ = nullptr;
  int descriptor_ = -1;
};

std::unique_ptr<HttpServer> make(HttpHandler& handler, const HttpLimits& limits) {
  auto server = std::make_unique<MicroHttpd>(handler, limits);
  if (!server->works()) return nullptr;
  return server;
}

}  // namespace

}  // namespace pool_server

extern "C" {
[[gnu::visibility("default")]] extern const pool_server::HttpModule pool_server_http_module;
const pool_server::HttpModule pool_server_http_module = {POOL_SERVER_VERSION, pool_server::make};
}
