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

Drain::Drain(SignalFd& signals, EventLoop& loop, Timers& timers, DrainHost& host)
    : signals_(signals), loop_(loop), timers_(timers), host_(host), deadline_([](TimeUs) {}) {
  loop_.add(signals_.fd(), EPOLLIN, *this);
}

Drain::~Drain() {
  loop_.remove(signals_.fd());
  timers_.disarm(deadline_);
}

void Drain::on_events(std::uint32_t) {
  while (const auto signal = signals_.next()) obey(*signal);
}

void Drain::obey(const SignalFd::Signal& signal) {
  switch (signal.number) {
    case SIGHUP:
      if (lifecycle_.running()) host_.request_reload();
      break;
    case SIGUSR1:
      successor_until_ = signal.value == kWithdrawn ? 0 : loop_.now() + kAnnouncementHolds;
      break;
    case SIGUSR2:
      if (lifecycle_.running()) host_.toggle_lame_duck();
      break;
    default:
      ask_for_stop(signal);
  }
}

void Drain::ask_for_stop(const SignalFd::Signal& signal) {
  const bool first = lifecycle_.running();
  lifecycle_.request_stop(loop_.now(), kNever);
  const std::string_view meaning = !first ? "stopping at once"
                                   : loop_.now() < successor_until_
                                       ? "handing over"
                                       : "finishing the work that was accepted";
  log::write(
      LogLevel::kInfo, "stopping", {},
      fmt::format("{} from process {}: {}", signal_name(signal.number), signal.sender, meaning));
  if (first) begin_asked_ = true;
}

void Drain::begin_if_asked() {
  if (!std::exchange(begin_asked_, false)) return;
  const TimeUs time = host_.begin_drain(/*successor=*/loop_.now() < successor_until_);
  hasten(loop_.now() > kNever - time ? kNever : loop_.now() + time);
}

void Drain::stop_now() {
  if (!lifecycle_.running()) return;
  lifecycle_.request_stop(loop_.now(), /*drain_timeout=*/0);
  host_.begin_drain(/*successor=*/true);
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
