#include "core/lifecycle.h"

#include <doctest/doctest.h>

#include <initializer_list>

namespace pool_server {
namespace {

TEST_CASE("lifecycle: runs until it is asked to stop, whether there is work or not") {
  Lifecycle lifecycle;
  CHECK(lifecycle.running());
  CHECK(lifecycle.drain_deadline() == kNever);
  lifecycle.tick(1'000'000'000, false);
  lifecycle.tick(kNever, true);
  CHECK(lifecycle.running());
}

TEST_CASE("lifecycle: a stop drains until no work is left") {
  Lifecycle lifecycle;
  lifecycle.request_stop(100, 50);
  CHECK(lifecycle.draining());
  CHECK(lifecycle.drain_deadline() == 150);
  lifecycle.tick(149, true);
  CHECK(lifecycle.draining());
  lifecycle.tick(149, false);
  CHECK(lifecycle.stopped());
  CHECK_FALSE(lifecycle.cut_short());
}

TEST_CASE("lifecycle: the deadline cuts the drain short") {
  Lifecycle lifecycle;
  lifecycle.request_stop(100, 50);
  lifecycle.tick(150, true);
  CHECK(lifecycle.stopped());
  CHECK(lifecycle.cut_short());
}

TEST_CASE("lifecycle: a second request cuts the drain short, and only when work is left") {
  for (const bool work_left : {true, false}) {
    Lifecycle lifecycle;
    lifecycle.request_stop(100, 50);
    lifecycle.request_stop(101, 50);
    CHECK(lifecycle.draining());
    CHECK(lifecycle.drain_deadline() == 150);
    lifecycle.tick(101, work_left);
    CHECK(lifecycle.stopped());
    CHECK(lifecycle.cut_short() == work_left);
  }
}

TEST_CASE("lifecycle: the deadline can be brought forward, not put off") {
  Lifecycle lifecycle;
  lifecycle.request_stop(100, 50);
  lifecycle.hasten(200);
  CHECK(lifecycle.drain_deadline() == 150);
  lifecycle.hasten(120);
  CHECK(lifecycle.drain_deadline() == 120);
  lifecycle.tick(120, true);
  CHECK(lifecycle.stopped());
}

TEST_CASE("lifecycle: a drain without end does not overflow the clock") {
  Lifecycle lifecycle;
  lifecycle.request_stop(100, kNever);
  CHECK(lifecycle.drain_deadline() == kNever);
  lifecycle.tick(kNever - 1, true);
  CHECK(lifecycle.draining());
}

TEST_CASE("lifecycle: stopped is final") {
  Lifecycle lifecycle;
  lifecycle.request_stop(0, 10);
  lifecycle.tick(0, false);
  lifecycle.request_stop(5, 10);
  lifecycle.tick(100, true);
  CHECK(lifecycle.stopped());
  CHECK_FALSE(lifecycle.cut_short());
}

}  // namespace
}  // namespace pool_server
