#include "server/drain.h"

#include <sys/epoll.h>

#include <csignal>
#include <exception>
#include <new>
#include <utility>

#include "server/log.h"

namespace pool_server {

namespace {

constexpr TimeUs kPatienceWithoutMemory = 5'000'000;

class NoMemoryToStop : public std::exception {
 public:
  const char* what() const noexcept override { return "there is no memory to stop in good order"; }
};

std::string_view signal_name(int number) {
  return number == SIGINT ? "SIGINT" : "SIGTERM";
}

}  // namespace

Drain::Drain(SignalFd& signals, EventLoop& loop, Timers& timers, DrainHost& host,
             bool all_announced)
    : signals_(signals),
      loop_(loop),
      timers_(timers),
      host_(host),
      all_announced_(all_announced),
      deadline_([](TimeUs) {}) {
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
    stop_until_ = loop_.now() + kAnnouncementHolds;
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
  if (first) asked_at_ = loop_.now();
  lifecycle_.request_stop(loop_.now(), kNever);
  if (first) {
    asked_by_ = signal;
    begin_asked_ = true;
  } else {
    tell("stopping-at-once", signal, "stopping at once");
  }
}

void Drain::begin_if_asked() {
  if (!begin_asked_) return;
  try {
    if (!begun_) begun_ = host_.begin_drain(asked());
    hasten(asked_at_ > kNever - begun_->time ? kNever : asked_at_ + begun_->time);
  } catch (const std::bad_alloc&) {
    // It is done anew by the next round: a stop is not forgotten, nor waited for without an end.
    if (loop_.now() - asked_at_ < kPatienceWithoutMemory) throw;
    throw NoMemoryToStop();
  }
  begin_asked_ = false;
  if (!for_failure_) tell("stopping", asked_by_, begun_->what);
}

DrainHost::Asked Drain::asked() const {
  if (for_failure_ || loop_.now() < successor_until_) return DrainHost::Asked::kRestart;
  if (!all_announced_ || loop_.now() < stop_until_) return DrainHost::Asked::kStop;
  return DrainHost::Asked::kEither;
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
  host_.begin_drain(DrainHost::Asked::kRestart);
}

void Drain::begin_for_failure() {
  if (!lifecycle_.running()) return;
  lifecycle_.request_stop(loop_.now(), kNever);
  begin_asked_ = for_failure_ = true;
  asked_at_ = loop_.now();
}

void Drain::hasten(TimeUs at) {
  if (at >= lifecycle_.drain_deadline()) return;
  timers_.arm(deadline_, at);
  lifecycle_.hasten(at);
}

void Drain::tick(bool work_left) {
  lifecycle_.tick(loop_.now(), work_left);
  if (lifecycle_.stopped()) loop_.stop();
}

}  // namespace pool_server
