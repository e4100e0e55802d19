#pragma once

#include <string>

#include "loop/event_loop.h"
#include "sys/socket_address.h"
#include "sys/unique_fd.h"

namespace pool_server {

class Listener;

// What a listener tells the server. Loop thread only.
class ListenerHost {
 public:
  virtual void on_accepted(Listener& listener, UniqueFd socket) = 0;
  // Out of descriptors or memory (`error`, an errno): the rest waits in the backlog.
  virtual void on_no_resources(int error) = 0;
  // This listener cannot accept for now; it has paused itself, and is to be resumed some time.
  virtual void on_accept_failed(Listener& listener, int error) = 0;
  // It can never accept again, and causes no more events.
  virtual void on_listener_dead(Listener& listener, int error) = 0;

 protected:
  ~ListenerHost() = default;
};

// A listening socket in the loop. Whatever accept fails with, it does not keep the loop busy: after
// an error that leaves the socket readable it is paused, or out of the loop for good.
class Listener final : public EventSource {
 public:
  Listener(ListeningSocket socket, EventLoop& loop, ListenerHost& host);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  const std::string& name() const { return socket_.name; }
  void on_events(std::uint32_t events) override;
  // Paused, newcomers wait in the backlog and cause no events.
  void pause();
  void resume();

  // For the host: it has told that this one cannot accept.
  bool failure_told = false;

 private:
  void die(int error);
  void leave_loop();

  ListeningSocket socket_;
  EventLoop& loop_;
  ListenerHost& host_;
  bool paused_ = false;
  bool in_loop_ = false;
  bool dead_ = false;
};

}  // namespace pool_server
