#include "server/drain.h"

#include <sys/epoll.h>

#include <csignal>
#include <utility>

#include "server/log.h"

namespace pool_server {

namespace {

std::string_view signal_name(int number) {
  return number == SIGINT ? "SIGINT" : "SIGTERM";
}

}  // namespace

Drain::Drain(const Options& options, SignalFd& signals, EventLoop& loop, Timers& timers,
             std::function<void()> begin, std::function<void()> reload)
    : options_(options),
      signals_(signals),
      loop_(loop),
      timers_(timers),
      begin_(std::move(begin)),
      reload_(std::move(reload)),
      deadline_([](TimeUs) {}) {
  loop_.add(signals_.fd(), EPOLLIN, *this);
}

Drain::~Drain() {
  loop_.remove(signals_.fd());
  timers_.disarm(deadline_);
}

void Drain::on_events(std::uint32_t) {
  while (const auto signal = signals_.next()) {
    if (signal->number == SIGHUP) {
      if (lifecycle_.running()) reload_();
      continue;
    }
    const bool first = lifecycle_.running();
    lifecycle_.request_stop(loop_.now(), options_.drain_timeout);
    log::write(LogLevel::kInfo, first ? log::Event("stopping") : log::Event("stopping-at-once"), {},
               fmt::format("{} from process {}: {}", signal_name(signal->number), signal->sender,
                           first ? "finishing the work that was accepted" : "stopping at once"));
    if (!first) continue;
    if (lifecycle_.drain_deadline() != kNever) timers_.arm(deadline_, lifecycle_.drain_deadline());
    begin_asked_ = true;
  }
}

void Drain::begin_if_asked() {
  if (std::exchange(begin_asked_, false)) begin_();
}

void Drain::stop_now() {
  if (!lifecycle_.running()) return;
  lifecycle_.request_stop(loop_.now(), /*drain_timeout=*/0);
  begin_();
}

void Drain::hasten(TimeUs at) {
  if (at >= lifecycle_.drain_deadline()) return;
  lifecycle_.hasten(at);
  timers_.arm(deadline_, at);
}

void Drain::tick(bool work_left) {
  lifecycle_.tick(loop_.now(), work_left);
  if (lifecycle_.stopped()) loop_.stop();
}

}  // namespace pool_server
