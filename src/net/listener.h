#pragma once

#include <string>

#include "loop/event_loop.h"
#include "sys/unique_fd.h"

namespace pool_server {

// What a listener tells the server. Loop thread only.
class ListenerHost {
 public:
  virtual void on_accepted(UniqueFd socket) = 0;
  // Out of descriptors or memory (`error`, an errno): the rest waits in the backlog.
  virtual void on_accept_failed(int error) = 0;

 protected:
  ~ListenerHost() = default;
};

// A listening socket in the loop.
class Listener final : public EventSource {
 public:
  // `path_to_remove`: of a unix socket that this process made; empty otherwise.
  Listener(UniqueFd socket, std::string name, std::string path_to_remove, EventLoop& loop,
           ListenerHost& host);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  const std::string& name() const { return name_; }
  void on_events(std::uint32_t events) override;
  // Paused, newcomers wait in the backlog and cause no events.
  void pause();
  void resume();

 private:
  UniqueFd socket_;
  std::string name_;
  std::string path_to_remove_;
  EventLoop& loop_;
  ListenerHost& host_;
  bool paused_ = false;
};

}  // namespace pool_server
