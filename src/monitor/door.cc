#include "monitor/door.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

namespace pool_server {

namespace {

// So many are let in in so much time: each costs some 50 µs.
constexpr unsigned kMostInSlot = 4;
constexpr TimeUs kSlot = 5'000;
// How long newcomers wait when there is no descriptor for them.
constexpr TimeUs kRetryDoor = 500'000;

}  // namespace

Door::Door(EventLoop& loop, Timers& timers, std::vector<ListeningSocket> sockets, DoorHost& host,
           std::string_view whose)
    : loop_(loop), timers_(timers), host_(host), whose_(whose), resume_([this](TimeUs) {
        resume();
      }) {
  ListenerHost& self = *this;
  for (ListeningSocket& socket : sockets) {
    listeners_.push_back(std::make_unique<Listener>(std::move(socket), loop_, self));
  }
  timers_.arm(resume_, kNever);
}

Door::~Door() {
  timers_.disarm(resume_);
}

void Door::on_accepted(Listener&, UniqueFd socket) {
  const TimeUs now = loop_.now();
  if (now >= slot_ends_) {
    slot_ends_ = now + kSlot;
    let_in_ = 0;
  }
  host_.on_visitor(std::move(socket));
  if (unlimited_) return;
  if (shut_) {
    pause(kNever);
  } else if (++let_in_ >= kMostInSlot) {
    pause(slot_ends_);
  }
}

void Door::on_no_resources(int error) {
  pause(loop_.now() + kRetryDoor);
  tell_of_pause(error);
}

void Door::on_accept_failed(Listener&, int error) {
  on_no_resources(error);
}

void Door::on_listener_dead(Listener& listener, int error) {
  try {
    host_.on_trouble("no " + std::string(whose_) + " on " + listener.name() +
                     " any more, it does not listen: " + std::strerror(error));
  } catch (const std::bad_alloc&) {  // nothing else depends on it
  }
}

void Door::tell_of_pause(int error) noexcept {
  try {
    host_.on_trouble("the " + std::string(whose_) +
                     " lets nobody in for now: " + std::strerror(error));
  } catch (const std::bad_alloc&) {  // the same
  }
}

void Door::shut() {
  shut_ = true;
}

void Door::open() {
  if (!std::exchange(shut_, false)) return;
  if (paused_ && resume_.at() == kNever) timers_.arm(resume_, loop_.now());
}

void Door::let_in_who_waits() {
  unlimited_ = true;
  for (const auto& listener : listeners_) {
    try {
      listener->resume();
      listener->on_events(EPOLLIN);
    } catch (const std::system_error&) {  // they see the end of it without a word
    }
  }
}

void Door::pause(TimeUs until) {
  paused_ = true;
  timers_.arm(resume_, until);
  try {
    for (const auto& listener : listeners_) listener->pause();
  } catch (const std::system_error&) {  // whoever comes in spite of it makes the listener deaf
  }
}

void Door::resume() {
  timers_.arm(resume_, kNever);
  if (shut_) return;
  // Who is first takes the place that there is: each in its turn.
  if (!listeners_.empty()) {
    std::rotate(listeners_.begin(), listeners_.begin() + 1, listeners_.end());
  }
  try {
    for (const auto& listener : listeners_) listener->resume();
    paused_ = false;
  } catch (const std::system_error& error) {
    on_no_resources(error.code().value());
  }
}

}  // namespace pool_server
