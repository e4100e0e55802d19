#include "children/roster.h"

#include <doctest/doctest.h>

#include "sys/packet.h"

namespace pool_server {

namespace {

struct Three {
  Roster roster{std::make_shared<const ChildSettings>()};
  Roster::Seat* seats[3];

  Three() {
    for (unsigned i = 0; i < 3; ++i) {
      seats[i] = &roster.join();
      roster.serve_as(*seats[i], i);
    }
  }
  ~Three() {
    for (Roster::Seat* seat : seats) roster.leave(*seat);
  }
};

}  // namespace

// Fails when a worker waits for others that are not able either, or is not woken when they become
// so.
TEST_CASE("roster: who is able") {
  Three three;
  auto& [a, b, c] = three.seats;
  CHECK(three.roster.any_able());
  three.roster.is_unable(*a);
  three.roster.is_unable(*b);
  CHECK(three.roster.others_able(*a));
  CHECK_FALSE(three.roster.others_able(*c));
  CHECK_FALSE(wait_readable(a->wake->fd(), 0));
  three.roster.is_unable(*c);
  CHECK_FALSE(three.roster.any_able());
  CHECK(wait_readable(a->wake->fd(), 0));
  CHECK(wait_readable(b->wake->fd(), 0));
  three.roster.has_proved(*b);
  CHECK(three.roster.others_able(*a));
  CHECK_FALSE(three.roster.others_able(*b));
}

// Fails when a broken program is hoped for, or one that worked a moment ago is not.
TEST_CASE("roster: hope") {
  Three three;
  for (Roster::Seat* seat : three.seats) three.roster.is_unable(*seat);
  CHECK_FALSE(three.roster.has_hope(*three.seats[0], 1'000'000));
  three.roster.answered_until(1'000'000);
  CHECK(three.roster.has_hope(*three.seats[0], 2'999'999));
  CHECK_FALSE(three.roster.has_hope(*three.seats[0], 3'000'000));
}

// Fails when children are replaced at the same time, or one is left out.
TEST_CASE("roster: turns") {
  Three three;
  CHECK_FALSE(three.roster.next_turn(0).worker);
  CHECK(three.roster.next_turn(0).look_again_at == kNever);
  three.roster.change(std::make_shared<const ChildSettings>());
  CHECK(three.roster.next_turn(0).worker == 0);
  CHECK(three.roster.may_replace(*three.seats[0]));
  CHECK_FALSE(three.roster.may_replace(*three.seats[1]));
  {
    const Roster::Start without_memory(three.roster, *three.seats[0]);
    CHECK_FALSE(three.roster.may_replace(*three.seats[0]));
  }
  CHECK(three.roster.may_replace(*three.seats[0]));  // it was not even tried
  Roster::Start start(three.roster, *three.seats[0]);
  start.was_tried();
  CHECK_FALSE(three.roster.may_replace(*three.seats[0]));
  CHECK_FALSE(three.roster.next_turn(1).worker);
  three.roster.has_proved(*three.seats[0]);
  CHECK(three.roster.next_turn(2).worker == 1);
  CHECK_FALSE(three.roster.next_turn(2 + Roster::kTurn - 1).worker);
  CHECK(three.roster.next_turn(2 + Roster::kTurn).worker == 2);
  const Roster::Turn last = three.roster.next_turn(3 + Roster::kTurn);
  CHECK_FALSE(last.worker);
  CHECK(last.look_again_at == kNever);
}

}  // namespace pool_server
