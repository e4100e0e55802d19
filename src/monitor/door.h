#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loop/event_loop.h"
#include "loop/listener.h"
#include "loop/timers.h"
#include "sys/socket_address.h"
#include "sys/unique_fd.h"

namespace pool_server {

// What a door tells whose it is. Loop thread only.
class DoorHost {
 public:
  virtual void on_visitor(UniqueFd socket) = 0;
  // Something that the operator should hear of; it may come again and again.
  virtual void on_trouble(const std::string& what) = 0;

 protected:
  ~DoorHost() = default;
};

// Where those come in who are no clients: a few at a time, so that clients do not feel a flood of
// them; the rest waits in the backlog. Whatever accept fails with, it does not keep the loop busy.
// Loop thread only.
class Door final : private ListenerHost {
 public:
  // `whose`: "monitor", say, for what the operator is told. Throws what EventLoop::add throws.
  Door(EventLoop& loop, Timers& timers, std::vector<ListeningSocket> sockets, DoorHost& host,
       std::string_view whose);
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;
  ~Door();

  // Nobody is let in until open().
  void shut();
  // Later, when what the last visitor had has been let go.
  void open();
  // Whoever waits already comes in at once, as far as a listener accepts in one go: nobody will
  // later.
  void let_in_who_waits();

 private:
  // ListenerHost
  void on_accepted(Listener& listener, UniqueFd socket) override;
  void on_no_resources(int error) override;
  void on_accept_failed(Listener& listener, int error) override;
  void on_listener_dead(Listener& listener, int error) override;

  void pause(TimeUs until);
  void resume();
  void tell_of_pause(int error) noexcept;

  EventLoop& loop_;
  Timers& timers_;
  DoorHost& host_;
  const std::string_view whose_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  TimeUs slot_ends_ = 0;  // of the time in which
  unsigned let_in_ = 0;   // ... so many were let in
  bool shut_ = false;
  bool paused_ = false;
  bool unlimited_ = false;
  CallbackTimer resume_;  // always armed, if need be for never: then to move it takes no memory
};

}  // namespace pool_server
