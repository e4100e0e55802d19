#include "monitor/agent.h"

#include <algorithm>
#include <array>
#include <new>
#include <system_error>
#include <utility>

#include "sys/socket.h"

namespace pool_server {

namespace {

// A visitor that has been told may stay so long, if nobody else needs its place, and send so much.
constexpr TimeUs kStay = 1'000'000;
constexpr std::size_t kMostReceived = 64 * 1024;  // bytes

}  // namespace

Agent::Agent(EventLoop& loop, Timers& timers, std::vector<ListeningSocket> sockets,
             AgentSource& source, const AgentReport::Memory& before)
    : loop_(loop),
      timers_(timers),
      source_(source),
      report_(before),
      slow_([this](TimeUs now) { look_for_the_slow(now); }),
      step_([this](TimeUs now) { look(now); }),
      door_(loop, timers, std::move(sockets), *this, "agent") {
  for (Visitor& visitor : visitors_) visitor.agent = this;
  report_.add(source_.agent_sample());
  timers_.reserve(2);
  timers_.arm(slow_, kNever);
  timers_.arm(step_, loop_.now() + kStep);
}

Agent::~Agent() {
  for (Visitor& visitor : visitors_) show_out(visitor);
  timers_.disarm(slow_);
  timers_.disarm(step_);
}

void Agent::on_visitor(UniqueFd socket) {
  try {
    const std::string text = line();
    std::string_view rest = text;
    while (!rest.empty()) {
      const IoResult sent = send(socket.get(), rest);
      if (sent.bytes == 0) break;  // there is room for a line, or nobody reads it
      rest.remove_prefix(sent.bytes);
    }
  } catch (const std::bad_alloc&) {  // it asks again
  }
  if (stopped_) {
    end_in_good_order(socket.get());
  } else {
    shut_down_sending(socket.get());
    let_stay(std::move(socket));
  }
}

std::string Agent::line() {
  if (stopped_) return std::string(AgentReport::kStopped);
  const TimeUs now = loop_.now();
  if (now >= fresh_until_) {
    hopeless_ = source_.hopeless();
    fresh_until_ = now + kFresh;
  }
  return report_.line(source_.phase(), hopeless_);
}

void Agent::let_stay(UniqueFd socket) {
  Visitor& visitor = visitors_.at(next_);
  show_out(visitor);
  try {
    loop_.add(socket.get(), EPOLLIN, visitor);
  } catch (const std::system_error&) {
    end_in_good_order(socket.get());
    return;
  }
  next_ = (next_ + 1) % visitors_.size();
  visitor.socket = std::move(socket);
  visitor.since = loop_.now();
  visitor.received = 0;
  if (slow_.at() == kNever) timers_.arm(slow_, visitor.since + kStay);
}

void Agent::Visitor::on_events(std::uint32_t) {
  if (!socket.valid()) return;
  std::array<char, 4096> ignored;
  const IoResult result = receive(socket.get(), ignored);
  if (result.status == IoStatus::kAgain) return;
  received += result.bytes;
  if (result.status != IoStatus::kOk || received > kMostReceived) agent->show_out(*this);
}

void Agent::show_out(Visitor& visitor) {
  if (!visitor.socket.valid()) return;
  loop_.remove(visitor.socket.get());
  visitor.socket.reset();
}

void Agent::look_for_the_slow(TimeUs now) {
  TimeUs next = kNever;
  for (Visitor& visitor : visitors_) {
    if (visitor.socket.valid() && now - visitor.since >= kStay) show_out(visitor);
    if (visitor.socket.valid()) next = std::min(next, visitor.since + kStay);
  }
  timers_.arm(slow_, next);
}

void Agent::look(TimeUs now) {
  timers_.arm(step_, now + kStep);
  try {
    report_.add(source_.agent_sample());
  } catch (const std::bad_alloc&) {  // the next look sees more
  }
}

void Agent::say_stopped() {
  stopped_ = true;
  door_.let_in_who_waits();
}

}  // namespace pool_server
