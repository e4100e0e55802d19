#include "monitor/endpoints.h"

#include <charconv>
#include <utility>

#include "core/server_metrics.h"
#include "monitor/page.h"

namespace pool_server {

namespace {

constexpr unsigned kNotFound = 404;
constexpr unsigned kMethodNotAllowed = 405;
constexpr unsigned kUnavailable = 503;

std::shared_ptr<const std::string> body_of(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

HttpReply line(unsigned status, std::string text) {
  return {.status = status, .body = body_of(std::move(text) + '\n')};
}

// What is no number asks for all there is.
double seconds_of(std::string_view text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  return error == std::errc() && end == text.data() + text.size() ? seconds : 0;
}

}  // namespace

Endpoints::Endpoints(MonitorSource& source, TimeUs now)
    : source_(source),
      state_(source.state()),
      looked_at_(now),
      history_(state_.counters),
      page_(body_of(std::string(kPage))) {
  look(now);
}

HttpReply Endpoints::answer(const HttpRequest& request, TimeUs now) {
  constexpr std::string_view kJson = "application/json";
  const std::string_view path = request.path;
  if (request.method != "GET" && request.method != "HEAD") {
    return line(kMethodNotAllowed, "only GET and HEAD");
  }
  if (path == "/healthz") return line(200, "ok");
  if (path == "/readyz") return ready(now);
  if (path == "/metrics") {
    const MetricsFormat format = preferred_format(request.accept);
    return {.type = content_type(format), .body = metrics(format, now)};
  }
  if (path == "/state.json") {
    const ServerState& state = this->state(now);
    if (state_json_ == nullptr) state_json_ = body_of(state_json(state));
    return {.type = kJson, .body = state_json_};
  }
  if (path == "/history.json") {
    return {.type = kJson, .body = body_of(history_.json(seconds_of(request.since)))};
  }
  if (path == "/") {
    return {.type = "text/html; charset=utf-8", .body = page_, .policy = kPagePolicy};
  }
  return line(kNotFound, "there are /, /metrics, /healthz, /readyz, /state.json, /history.json");
}

void Endpoints::end_step(TimeUs now) {
  look(now);
  history_.add(state_);
}

const ServerState& Endpoints::state(TimeUs now) {
  if (now - looked_at_ >= kFresh) look(now);
  return state_;
}

void Endpoints::look(TimeUs now) {
  ServerState state = source_.state();
  state.wait = history_.wait(state.counters);
  state.run = history_.run(state.counters);
  const TimeUs full_for = full_queue_.look(state.queue_depth, state.queue_capacity, now);
  state.not_ready_because = why_not_ready(state, full_for);
  // What has come so far takes no more memory: it is all true, or nothing of it is told.
  state_ = std::move(state);
  looked_at_ = now;
  state_json_ = prometheus_ = open_metrics_ = nullptr;
}

HttpReply Endpoints::ready(TimeUs now) {
  const std::string& why_not = state(now).not_ready_because;
  return why_not.empty() ? line(200, "ready") : line(kUnavailable, why_not);
}

Endpoints::Body Endpoints::metrics(MetricsFormat format, TimeUs now) {
  const ServerState& state = this->state(now);
  Body& body = format == MetricsFormat::kOpenMetrics ? open_metrics_ : prometheus_;
  if (body == nullptr) body = body_of(render_metrics(metrics_of(state), format));
  return body;
}

}  // namespace pool_server
