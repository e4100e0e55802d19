#include "net/listener.h"

#include <unistd.h>

#include <utility>

#include "sys/socket.h"

namespace pool_server {

namespace {

// A burst of newcomers must not keep the clients that are here waiting: the rest comes next round.
constexpr int kMaxAcceptsPerRound = 64;

}  // namespace

Listener::Listener(UniqueFd socket, std::string name, std::string path_to_remove, EventLoop& loop,
                   ListenerHost& host)
    : socket_(std::move(socket)),
      name_(std::move(name)),
      path_to_remove_(std::move(path_to_remove)),
      loop_(loop),
      host_(host) {
  loop_.add(socket_.get(), EPOLLIN, *this);
}

Listener::~Listener() {
  loop_.remove(socket_.get());
  if (!path_to_remove_.empty()) ::unlink(path_to_remove_.c_str());
}

void Listener::on_events(std::uint32_t) {
  for (int i = 0; i < kMaxAcceptsPerRound && !paused_; ++i) {
    AcceptResult accepted = accept_connection(socket_.get());
    switch (accepted.status) {
      case AcceptStatus::kOk:
        host_.on_accepted(std::move(accepted.socket));
        break;
      case AcceptStatus::kGone:
        break;
      case AcceptStatus::kAgain:
        return;
      case AcceptStatus::kNoResources:
        host_.on_accept_failed(accepted.error);
        return;
    }
  }
}

void Listener::pause() {
  if (std::exchange(paused_, true)) return;
  loop_.modify(socket_.get(), 0, *this);
}

void Listener::resume() {
  if (!std::exchange(paused_, false)) return;
  loop_.modify(socket_.get(), EPOLLIN, *this);
}

}  // namespace pool_server
