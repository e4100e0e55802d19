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
  if (signal.number == SIGRTMIN) {
    successor_until_ = 0;
    return;
  }
  switch (signal.number) {
    case SIGHUP:
      if (lifecycle_.running()) host_.request_reload();
      break;
    case SIGUSR1:
      successor_until_ = loop_.now() + kAnnouncementHolds;
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
  if (first) {
    asked_by_ = signal;
    begin_asked_ = true;
  } else {
    tell("stopping-at-once", signal, "stopping at once");
  }
}

void Drain::begin_if_asked() {
  if (!std::exchange(begin_asked_, false)) return;
  const auto [time, carries] = host_.begin_drain(/*successor=*/loop_.now() < successor_until_);
  tell("stopping", asked_by_, carries ? "handing over" : "finishing the work that was accepted");
  hasten(loop_.now() > kNever - time ? kNever : loop_.now() + time);
}

void Drain::tell(log::Event event, const SignalFd::Signal& signal, std::string_view what) {
  log::attempt([&] {
    log::write(
        LogLevel::kInfo, event, {},
        fmt::format("{} from process {}: {}", signal_name(signal.number), signal.sender, what));
  });
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
