#include "monitor/monitor.h"

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

#include "sys/socket.h"

namespace pool_server {

namespace {

// Of a connection: more than any request of a browser or a scraper is long.
constexpr std::size_t kMemory = 16 * 1024;  // bytes
// How long a visitor may take from its arrival until it has read its reply, and how long when
// others wait for its place.
constexpr TimeUs kPatience = 10'000'000;
constexpr TimeUs kPatienceWhenFull = 1'000'000;

}  // namespace

Monitor::Monitor(EventLoop& loop, Timers& timers, std::vector<ListeningSocket> sockets,
                 const HttpModule& http, MonitorSource& source)
    : loop_(loop),
      timers_(timers),
      source_(source),
      endpoints_(source, loop.now()),
      http_(http.make(*this, {.connections = kMaxConnections, .memory = kMemory})),
      door_(loop, timers, std::move(sockets), *this, "monitor"),
      serve_on_([this](TimeUs) { serve(); }),
      slow_([this](TimeUs now) { show_out(now); }),
      step_([this](TimeUs now) { end_step(now); }) {
  if (http_ == nullptr) throw std::runtime_error("the monitor's HTTP server cannot be started");
  timers_.reserve(3);
  loop_.add(http_->descriptor(), EPOLLIN, *this);
  for (CallbackTimer* timer : {&serve_on_, &slow_}) timers_.arm(*timer, kNever);
  timers_.arm(step_, loop_.now() + History::kStep);
}

Monitor::~Monitor() {
  for (CallbackTimer* timer : {&serve_on_, &slow_, &step_}) timers_.disarm(*timer);
  loop_.remove(http_->descriptor());
  http_.reset();  // tells on_closed()
}

void Monitor::on_visitor(UniqueFd socket) {
  try {
    visitors_.push_back({.socket = socket.get(), .since = loop_.now()});
    const int taken = socket.release();
    if (!http_->take(taken)) {
      std::erase_if(visitors_, [taken](const Visitor& each) { return each.socket == taken; });
    }
  } catch (const std::bad_alloc&) {  // nobody has it: it is closed
  }
  if (visitors_.size() >= kMaxConnections) door_.shut();
  look_for_the_slow();
}

HttpReply Monitor::answer(const HttpRequest& request) {
  return endpoints_.answer(request, loop_.now());
}

void Monitor::on_closed(int socket) {
  std::erase_if(visitors_, [socket](const Visitor& each) { return each.socket == socket; });
  if (visitors_.size() < kMaxConnections) door_.open();
}

void Monitor::on_events(std::uint32_t) {
  serve();
}

// What is left to do has a round of its own.
void Monitor::serve() {
  timers_.arm(serve_on_, kNever);
  if (http_->run()) timers_.arm(serve_on_, loop_.now() + 1);
}

// The HTTP server sees the end, and closes the connection. What is not closed by that has been
// closed a moment before.
void Monitor::show_out(TimeUs now) {
  const TimeUs patience = visitors_.size() >= kMaxConnections ? kPatienceWhenFull : kPatience;
  for (Visitor& visitor : visitors_) {
    if (now - visitor.since < patience) break;
    if (!std::exchange(visitor.shown_out, true)) shut_down(visitor.socket);
  }
  look_for_the_slow();
}

void Monitor::look_for_the_slow() {
  const auto first = std::ranges::find(visitors_, false, &Visitor::shown_out);
  const TimeUs patience = visitors_.size() >= kMaxConnections ? kPatienceWhenFull : kPatience;
  timers_.arm(slow_, first == visitors_.end() ? kNever : first->since + patience);
}

void Monitor::end_step(TimeUs now) {
  timers_.arm(step_, now + History::kStep);
  try {
    endpoints_.end_step(now);
  } catch (const std::bad_alloc&) {  // a row is missing then
  }
}

}  // namespace pool_server
