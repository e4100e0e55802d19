#include "loop/listener.h"

#include <cerrno>
#include <utility>

#include "sys/socket.h"

namespace pool_server {

namespace {

// A burst of newcomers must not keep the clients that are here waiting: the rest comes next round.
constexpr int kMaxAcceptsPerRound = 64;
// As many of them may have left before they were accepted.
constexpr int kMaxGonePerRound = 32;
// RDHUP: it was shut down, which accept does not tell of a unix socket.
constexpr std::uint32_t kInterest = EPOLLIN | EPOLLRDHUP;

}  // namespace

Listener::Listener(ListeningSocket socket, EventLoop& loop, ListenerHost& host)
    : socket_(std::move(socket)), loop_(loop), host_(host) {
  loop_.add(socket_.fd.get(), kInterest, *this);
  in_loop_ = true;
}

Listener::~Listener() {
  leave_loop();
}

void Listener::on_events(std::uint32_t events) {
  if (paused_) {  // in this round, but for what cannot be masked
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) leave_loop();
    return;
  }
  int gone = 0;
  for (int i = 0; i < kMaxAcceptsPerRound && !paused_; ++i) {
    AcceptResult accepted = accept_connection(socket_.fd.get());
    switch (accepted.status) {
      case AcceptStatus::kOk:
        host_.on_accepted(*this, std::move(accepted.socket));
        break;
      case AcceptStatus::kGone:
        if (++gone < kMaxGonePerRound) break;
        [[fallthrough]];  // nobody leaves that often: it would never end
      case AcceptStatus::kRefused:
        pause();
        host_.on_accept_failed(*this, accepted.error);
        return;
      case AcceptStatus::kAgain:
        if ((events & (EPOLLHUP | EPOLLRDHUP)) != 0) die(EINVAL);
        return;
      case AcceptStatus::kNoResources:
        host_.on_no_resources(accepted.error);
        return;
      case AcceptStatus::kDead:
        die(accepted.error);
        return;
    }
  }
}

void Listener::pause() {
  if (std::exchange(paused_, true) || !in_loop_) return;
  loop_.modify(socket_.fd.get(), 0, *this);
}

void Listener::resume() {
  if (dead_ || !paused_) return;
  if (in_loop_) {
    loop_.modify(socket_.fd.get(), kInterest, *this);
  } else {
    loop_.add(socket_.fd.get(), kInterest, *this);
    in_loop_ = true;
  }
  paused_ = false;
}

void Listener::die(int error) {
  dead_ = paused_ = true;
  leave_loop();
  host_.on_listener_dead(*this, error);
}

void Listener::leave_loop() {
  if (std::exchange(in_loop_, false)) loop_.remove(socket_.fd.get());
}

}  // namespace pool_server
