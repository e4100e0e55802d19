#include "children/roster.h"

#include <algorithm>
#include <utility>

namespace pool_server {

namespace {

constexpr TimeUs kLookForTurn = 20'000;

}  // namespace

Roster::Seat& Roster::join() {
  std::list<Seat> one(1);  // what makes a descriptor comes before the lock
  const MutexLock lock(mutex_);
  one.front().granted = one.front().current = generation_;
  seats_.splice(seats_.end(), one);
  return seats_.back();
}

void Roster::leave(Seat& seat) {
  std::list<Seat> left;
  const MutexLock lock(mutex_);
  const auto is_it = [&](const Seat& each) { return &each == &seat; };
  left.splice(left.end(), seats_, std::ranges::find_if(seats_, is_it));
}

void Roster::change(std::shared_ptr<const ChildSettings> settings) {
  const MutexLock lock(mutex_);
  settings_.swap(settings);
  ++generation_;
}

bool Roster::is_unable(unsigned worker) {
  const MutexLock lock(mutex_);
  const auto has_it = [worker](const Seat& seat) { return seat.worker == worker && seat.unable; };
  return std::ranges::any_of(seats_, has_it);
}

bool Roster::any_able() {
  const MutexLock lock(mutex_);
  return std::ranges::any_of(seats_, [](const Seat& seat) { return !seat.unable; });
}

Roster::Turn Roster::next_turn(TimeUs now) {
  const MutexLock lock(mutex_);
  const unsigned latest = generation_;
  const auto having_it = [&](const Seat& seat) {
    return seat.granted == latest && !seat.proven &&
           (seat.starting || now - seat.granted_at < kTurn);
  };
  const auto next =
      std::ranges::find_if(seats_, [&](const Seat& seat) { return seat.granted != latest; });
  if (next == seats_.end()) return {};
  if (std::ranges::any_of(seats_, having_it)) return {std::nullopt, now + kLookForTurn};
  next->granted = generation_;
  next->granted_at = now;
  next->proven = false;
  return {next->worker, now + kLookForTurn};
}

void Roster::serve_as(Seat& seat, unsigned worker) {
  const MutexLock lock(mutex_);
  seat.worker = worker;
}

bool Roster::may_replace(const Seat& seat) {
  const MutexLock lock(mutex_);
  return seat.granted != seat.current;
}

std::shared_ptr<const ChildSettings> Roster::settings() {
  const MutexLock lock(mutex_);
  return settings_;
}

std::shared_ptr<const ChildSettings> Roster::begin_start(Seat& seat) {
  const MutexLock lock(mutex_);
  seat.before = seat.current;
  seat.current = seat.granted = generation_;
  seat.starting = true;
  return settings_;
}

void Roster::end_start(Seat& seat, bool tried) {
  const MutexLock lock(mutex_);
  seat.starting = false;
  if (!tried) seat.current = seat.before;
}

void Roster::has_proved(Seat& seat) {
  const MutexLock lock(mutex_);
  seat.proven = true;
  seat.unable = false;
}

void Roster::is_unable(Seat& seat) {
  std::vector<std::shared_ptr<EventFd>> to_wake;
  {
    const MutexLock lock(mutex_);
    seat.unable = true;
    if (others_able_locked(seat)) return;
    for (const Seat& each : seats_) to_wake.push_back(each.wake);  // nobody waits for another now
  }
  for (const auto& wake : to_wake) wake->signal();
}

void Roster::has_lived(Seat& seat) {
  const MutexLock lock(mutex_);
  seat.unable = false;
}

void Roster::answered_until(TimeUs then) {
  const MutexLock lock(mutex_);
  last_answer_ = std::max(last_answer_, then);
}

bool Roster::others_able(const Seat& seat) {
  const MutexLock lock(mutex_);
  return others_able_locked(seat);
}

bool Roster::has_hope(const Seat& seat, TimeUs now) {
  const MutexLock lock(mutex_);
  return others_able_locked(seat) || now - last_answer_ < kAMoment;
}

bool Roster::others_able_locked(const Seat& seat) {
  return std::ranges::any_of(seats_,
                             [&](const Seat& each) { return &each != &seat && !each.unable; });
}

}  // namespace pool_server
